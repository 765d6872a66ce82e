"""A run that is killed at any moment, and resumed, ends as the run that was left alone."""

import shutil
import time

import pytest
import torch
from helpers import dummy_model, killed_runs
from helpers.killed_runs import Moment, differences, finish, kill_at, moments

from effowt_d2 import model_zoo

STEPS, PERIOD = 33, 3


@pytest.mark.slow
def test_two_kills_and_the_same_end(shapes, tmp_path):
    options = {"MODEL__META_ARCHITECTURE": "DroppingCellTracker", "SOLVER__MAX_ITER": 30, "SOLVER__EMA__DECAY": 0.9}
    cfg = dummy_model.config(tmp_path / "whole", **options)
    dummy_model.train(cfg)
    config = tmp_path / "config.yaml"
    config.write_text(cfg.dump())
    output = tmp_path / "killed"
    # in the middle of writing, as far as the system lets us, and between two steps
    assert kill_at(Moment("model_0000011.pth.tmp", 0.0), config, shapes, output)
    assert not (output / "model_final.pth").exists()
    assert kill_at(Moment("model_0000020.pth", 0.002), config, shapes, output)
    finish(config, shapes, output)
    assert differences(output, tmp_path / "whole") == []


@pytest.fixture
def left_alone(shapes, tmp_path):
    """(config file, folder of the whole run, seconds until training, between checkpoints, to write one)."""
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("mini_train",), ("mini_val",)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (64,), 64
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.CHECKPOINT_PERIOD, cfg.SOLVER.EMA.DECAY = STEPS, PERIOD, 0.9
    cfg.TEST.TAO_OW.WORKERS = 1
    config = tmp_path / "config.yaml"
    config.write_text(cfg.dump())
    began = time.time()
    finish(config, shapes, tmp_path / "whole")
    files = sorted((tmp_path / "whole").glob("model_0*.pth"))
    times = [file.stat().st_mtime for file in files]
    interval = (times[-1] - times[0]) / (len(times) - 1)
    # a checkpoint's folder entry changes when it is renamed, its content when it is written
    writing = max(0.01, sum(file.stat().st_ctime - file.stat().st_mtime for file in files) / len(files))
    return config, tmp_path / "whole", times[0] - interval - began, interval, writing


@pytest.mark.slow
def test_kill_at_twenty_moments(shapes, left_alone, tmp_path, capsys):
    config, whole, start_seconds, step_seconds, write_seconds = left_alone
    names = [f"model_{step - 1:07d}.pth" for step in range(PERIOD, STEPS + 1, PERIOD)] + ["model_final.pth"]
    seconds = {"start_seconds": start_seconds, "step_seconds": step_seconds, "write_seconds": write_seconds}
    equal, half_written, report = 0, 0, []
    for number, moment in enumerate(moments(7, starts=5, steps=8, writes=7, names=names, **seconds)):
        output = tmp_path / f"killed{number}"
        assert kill_at(moment, config, shapes, output), f"{moment} came after the end"
        left = (output / moment.sign).exists() if moment.sign.endswith(".tmp") else False
        half_written += left
        if number % 4 == 0:  # and once more, while it resumes
            kill_at(Moment("", start_seconds * 1.1), config, shapes, output)
        finish(config, shapes, output)
        different = differences(output, whole)
        equal += not different
        report.append(f"{moment}{', half-written file left' if left else ''}: {different or 'equal'} ({output.name})")
        if not different:
            shutil.rmtree(output)
    with capsys.disabled():
        print(f"\n{equal} of {len(report)} equal endings; {half_written} of 7 kills left a half-written checkpoint")
    assert equal == len(report), "\n".join(report)
    assert half_written > 0, "no kill came while a checkpoint was written: " + "\n".join(report)


def test_differences_are_seen(tmp_path):
    """The comparison above is worth nothing if it cannot fail."""
    found = []
    same = {"a": [1, {"b": torch.ones(2)}], "c": 1.5}
    killed_runs.compare((same, {"a": [1, {"b": torch.ones(2)}], "c": 1.5}), "", found)
    assert found == []
    killed_runs.compare((same, {"a": [2, {"b": torch.zeros(2)}]}), "", found)
    assert sorted(found) == ["", "/a/0", "/a/1/b"]
