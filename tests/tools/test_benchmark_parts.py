"""Parts of the benchmarks that have an answer by hand, and what they reject."""

import json
import mmap
import os
import signal
from pathlib import Path

import benchmark
import benchmark_memory
import benchmark_precision
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers import ROOT
from helpers.messages import assert_says, raises

from effowt_d2 import model_zoo
from effowt_d2.analysis import count_parameters
from effowt_d2.data.shapes_ow import VideoSplit

QUICK = str(ROOT / "configs/quick/shapes_ow_effowt.yaml")


@pytest.mark.slow
def test_one_strategy_in_half_precision_without_ratios(tmp_path, capsys):
    keys = ["MODEL.VLM.PRECISION", "bfloat16", "TEST.PRECISION", "bfloat16"]
    options = f"--config-file {QUICK} --strategies side --size 64 64 --views 1 --runs 1 --device cpu"
    assert benchmark.main([*options.split(), "--json", str(tmp_path / "b.json"), "--opts", *keys]) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert list(report["figures"]) == ["side"] and report["ratios to full"] == {}
    assert "(1.00)" not in capsys.readouterr().out
    counts = count_parameters(benchmark.build(model_zoo.get_config("quick/shapes_ow_effowt.yaml"), "side", "cpu"))
    frozen, total = counts["tower"].total, sum(count.total for count in counts.values())
    assert report["figures"]["side"]["memory"]["weights"] == 4 * total - 2 * frozen


def test_what_is_measured_by_name():
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    options = "--strategies full side --methods none lora --reductions none sparse --keep-rates 0.7 0.5"
    found = benchmark.variants(cfg, benchmark.parse_args(["--config-file", QUICK, *options.split()]))
    tokens = ("", ", sparse 0.7", ", sparse 0.5")
    assert list(found) == ["full", *(f"{name}{kept}" for name in ("side", "side + lora") for kept in tokens)]
    changed, strategy = found["side + lora, sparse 0.5"]
    assert strategy == "side" and changed.MODEL.PEFT.METHOD == "lora"
    assert (changed.MODEL.TOKENS.REDUCTION, changed.MODEL.TOKENS.KEEP_RATES) == ("sparse", [0.5])
    model = benchmark.build(changed, strategy, "cpu")
    assert {"tokens", "peft"} <= set(count_parameters(model))


def test_what_cannot_be_built_is_found_before_measuring(monkeypatch):
    monkeypatch.setattr(benchmark, "measure", None)
    options = "--strategies side --reductions none merge --keep-rates 0.7 0.5"
    with raises(SystemExit, "benchmark.py", "side, merge 0.5", "KEEP_RATES", "0.25"):
        benchmark.main(["--config-file", QUICK, *options.split()])


def measured_or_killed(cfg, strategy, args):
    if strategy == "side":
        os.kill(os.getpid(), signal.SIGKILL)
    return benchmark.measure(cfg, strategy, args)


@pytest.mark.slow
def test_what_was_measured_is_kept_when_a_process_is_killed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", measured_or_killed)
    out = str(tmp_path / "b.json")
    options = f"--config-file {QUICK} --strategies side zero_shot --size 64 64 --runs 1 --json"
    with raises(SystemExit, "side", "killed", "memory"):
        benchmark.main([*options.split(), out])
    assert list(json.loads(Path(out).read_text())["figures"]) == ["zero_shot"]
    assert "zero_shot" in capsys.readouterr().out


def test_a_wrong_key_is_one_line():
    with raises(SystemExit, "benchmark.py", "NO.SUCH"):
        benchmark.main(["--config-file", QUICK, "--opts", "NO.SUCH", "1"])


def test_scenes_follow_each_other():
    frames = list(benchmark_memory.synthetic_frames(7, VideoSplit(frames=3, size=128)))
    assert [frame.index for frame in frames] == list(range(7))
    steps = [abs(a.image.astype(int) - b.image).mean() for a, b in zip(frames, frames[1:])]
    cuts = [steps.pop(5), steps.pop(2)]
    assert min(cuts) > 1.5 * max(steps), (cuts, steps)


def test_memory_that_is_taken_is_seen():
    size = 2**26
    before = benchmark_memory.resident_bytes()
    # a mapping of its own: an allocator may hand out pages that are resident already
    with mmap.mmap(-1, size) as taken:
        for _ in range(64):
            taken.write(b"1" * (size // 64))
        now = benchmark_memory.resident_bytes()
    assert 0.9 * size < now - before < 1.5 * size


def test_first_frame_outside_the_video(capsys):
    with pytest.raises(SystemExit):
        benchmark_memory.main(["--frames", "3", "--first", "4"])
    assert_says(capsys.readouterr().err, "--first", 4, "--frames", 3)


def frame(boxes, scores):
    return Instances((100, 100), pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)), scores=torch.tensor(scores))


def test_differences_by_hand():
    expected = frame([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0], [0.0, 80.0, 9.0, 90.0]], [0.9, 0.8, 0.1])
    got = frame([[0.0, 0.0, 10.0, 11.0], [80.0, 50.0, 90.0, 60.0]], [0.85, 0.8])
    row = benchmark_precision.differences([expected, expected], [got, frame([], [])], 0.3)
    assert (row["boxes"], row["missing"]) == (4, 3)
    assert row["pixels, most"] == row["pixels, median"] == 1.0 and row["score, most"] == pytest.approx(0.05)
