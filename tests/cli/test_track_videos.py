"""Several videos in one run, and in several processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.blobs import count, run
from helpers.dummy_model import BlobTracker
from helpers.made_videos import make_video
from helpers.messages import assert_says

ROOT = Path(__file__).parents[2]


def tracks(path):
    return json.loads(path.read_text())


def test_every_video_gets_what_it_gets_alone_from_one_model(config_file, video, folder, tmp_path, monkeypatch, capsys):
    assert run(config_file, "--input", video, "--results", tmp_path / "alone.json") == 0
    monkeypatch.setattr(BlobTracker, "built", 0)
    out = tmp_path / "out"
    assert run(config_file, "--input", video, folder, "--output-dir", out) == 0
    assert BlobTracker.built == 1
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.*")) == [
        "clip/tracked.mp4", "clip/tracks.json", "frames/tracked.mp4", "frames/tracks.json",
    ]  # fmt: skip
    assert tracks(out / "clip" / "tracks.json") == tracks(tmp_path / "alone.json")
    assert {entry["track_id"] for entry in tracks(out / "frames" / "tracks.json")} == {0, 1, 2}
    assert count(out / "frames" / "tracked.mp4") == 12
    assert_says(capsys.readouterr().out, video, folder, out / "clip" / "tracks.json")


def test_outputs_of_choice_have_their_names_in_each_folder(config_file, video, folder, tmp_path):
    choice = ["--output", "drawn", "--results", "t.csv", "--results", "t.txt", "--report", "r.html"]
    assert run(config_file, "--input", video, folder, "--output-dir", tmp_path / "out", *choice) == 0
    for name in ("clip", "frames"):
        assert {file.name for file in (tmp_path / "out" / name).iterdir()} == {"drawn", "t.csv", "t.txt", "r.html"}


def test_an_error_in_one_video_leaves_the_others(config_file, video, folder, tmp_path, capsys):
    (tmp_path / "bad.mp4").write_text("no video")
    choice = ["--output-dir", tmp_path / "out", "--results", "t.json"]
    assert run(config_file, "--input", tmp_path / "bad.mp4", video, folder, *choice) == 2
    assert_says(capsys.readouterr().err, "bad.mp4")
    assert tracks(tmp_path / "out" / "clip" / "t.json") and tracks(tmp_path / "out" / "frames" / "t.json")


@pytest.mark.parametrize("inputs, choice, data", [
    (("clip.mp4", "gone.mp4"), (), ["gone.mp4"]),
    (("clip.mp4", "b/clip.avi"), (), ["clip.mp4", "clip.avi"]),
    (("clip.mp4", "frames/1.png"), (), ["1.png"]),
    (("clip.mp4",), ("--output", "deep/out.mp4"), ["deep/out.mp4"]),
    (("clip.mp4", "frames"), ("--results", "old.json"), ["old.json", "--overwrite"]),
])  # fmt: skip
def test_errors_come_before_the_first_video(
    config_file, video, folder, tmp_path, monkeypatch, capsys, inputs, choice, data
):
    monkeypatch.setattr(BlobTracker, "built", 0)
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    make_video(Path("b/clip.avi"), 2)
    Path("out/frames").mkdir(parents=True)
    Path("out/frames/old.json").write_text("old")
    assert run(config_file, "--input", *inputs, "--output-dir", "out", *choice) == 2
    assert_says(capsys.readouterr().err, *data)
    assert BlobTracker.built == 0 and not Path("out/clip").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_videos_are_dealt_over_processes(config_file, tmp_path, monkeypatch, rank):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", "2")
    videos = [make_video(tmp_path / f"{name}.avi", 2) for name in "abc"]
    assert run(config_file, "--input", *videos, "--output-dir", tmp_path / "out", "--results", "t.json") == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [["a", "c"], ["b"]][rank]


def test_one_video_is_not_for_several_processes(config_file, video, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(config_file, "--input", video, "--results", tmp_path / "t.json") == 2
    assert_says(capsys.readouterr().err, 2, "--output-dir")


@pytest.mark.slow
def test_torchrun(tmp_path):
    videos = [make_video(tmp_path / f"{name}.avi", 2) for name in "abc"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = [ROOT / "demo" / "demo.py", "--config-file", "quick/shapes_ow_effowt.yaml", "--device", "cpu"]
    arguments = ["--input", *videos, "--output-dir", tmp_path / "out", "--max-side", "64", "--results", "t.json"]
    done = subprocess.run([*command, *map(str, [*program, *arguments])], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [isinstance(tracks(tmp_path / "out" / name / "t.json"), list) for name in "abc"] == [True] * 3
