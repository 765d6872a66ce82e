"""tools/benchmark_memory.py: it reads the process's memory, and its video goes on from scene to scene."""

import json

import benchmark_memory  # noqa: E402
import pytest
import torch


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_curve_of_a_short_video(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_memory, "SCENE", benchmark_memory.VideoSplit(frames=5, size=128))
    out = tmp_path / "memory.json"
    options = ["--frames", "12", "--first", "3", "--every", "5", "--json", str(out)]
    assert benchmark_memory.main(options) == 0
    figures = json.loads(out.read_text())
    frames, resident = zip(*figures["curve"])
    assert frames == (3, 5, 10, 12) and min(resident) > 2**26
    assert figures["ids"] > 0 and figures["seconds"] > figures["in the model"] > 0
    assert "resident after 3 frames" in capsys.readouterr().out


def test_scenes_follow_each_other(monkeypatch):
    monkeypatch.setattr(benchmark_memory, "SCENE", benchmark_memory.VideoSplit(frames=3, size=128))
    frames = list(benchmark_memory.synthetic_frames(7))
    assert [frame.index for frame in frames] == list(range(7))
    steps = [abs(a.image.astype(int) - b.image).mean() for a, b in zip(frames, frames[1:])]
    cuts = [steps.pop(5), steps.pop(2)]
    assert min(cuts) > 1.5 * max(steps), (cuts, steps)


def test_memory_that_is_taken_is_seen():
    before = benchmark_memory.resident_bytes()
    taken = torch.ones(2**24)
    assert 0.9 * taken.nbytes < benchmark_memory.resident_bytes() - before < 1.5 * taken.nbytes


def test_first_frame_outside_the_video(capsys):
    with pytest.raises(SystemExit):
        benchmark_memory.main(["--frames", "3", "--first", "4"])
    assert "--first must be in 1 .. --frames, got 4 and 3" in capsys.readouterr().err
