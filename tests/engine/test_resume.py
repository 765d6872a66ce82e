"""`train_net.py --resume` as a user calls it, on what an unlucky run may have left."""

import sys

import pytest
from helpers import dummy_model, killed_runs, small_shapes
from helpers.messages import assert_says, raises

import train_net


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 6 steps, with its config file."""
    folder = tmp_path_factory.mktemp("whole")
    small_shapes.register(folder / "shapes")
    cfg = dummy_model.config(folder / "run", SOLVER__MAX_ITER=6, SOLVER__EMA__DECAY=0.9)
    (folder / "config.yaml").write_text(cfg.dump())
    dummy_model.train(cfg)
    return folder


@pytest.fixture
def left(whole, tmp_path):
    """A copy of that run's folder, to be damaged."""
    for name in ("model_0000002.pth", "model_0000005.pth", "model_final.pth", "last_checkpoint"):
        (tmp_path / name).write_bytes((whole / "run" / name).read_bytes())
    return tmp_path


def resume(whole, output, monkeypatch, *options):
    arguments = ["--config-file", str(whole / "config.yaml"), "--resume", "OUTPUT_DIR", str(output), *options]
    monkeypatch.setattr(sys, "argv", ["train_net.py", *arguments])
    train_net.run()


def change_a_byte(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return bytes(content)


def test_damaged_newest_checkpoint(whole, left, monkeypatch):
    (left / "last_checkpoint").write_text("model_0000005.pth")
    (left / "model_final.pth").unlink()
    damaged = change_a_byte(left / "model_0000005.pth")
    resume(whole, left, monkeypatch)
    assert killed_runs.differences(left, whole / "run") == []
    log = (left / "log.txt").read_text()
    assert_says(log, left / "model_0000002.pth", "iteration 2")
    # the run wrote that name again, and kept what was there
    assert (left / "model_0000005.pth.unusable").read_bytes() == damaged
    assert_says(log, left / "model_0000005.pth.unusable")


def test_killed_between_the_last_step_and_the_last_checkpoint(whole, left, monkeypatch):
    (left / "last_checkpoint").write_text("model_0000005.pth")
    (left / "model_final.pth").unlink()
    resume(whole, left, monkeypatch)
    assert killed_runs.differences(left, whole / "run") == []


def test_damaged_last_checkpoint_of_a_finished_run(whole, left, monkeypatch):
    damaged = change_a_byte(left / "model_final.pth")
    resume(whole, left, monkeypatch)
    assert killed_runs.differences(left, whole / "run") == []
    assert (left / "model_final.pth.unusable").read_bytes() == damaged


def test_nothing_usable_is_an_error_and_nothing_is_written(whole, left, monkeypatch):
    names = ("model_0000002.pth", "model_0000005.pth", "model_final.pth")
    before = {name: change_a_byte(left / name) for name in names}
    with raises(SystemExit, "train_net.py", "model_final.pth"):
        resume(whole, left, monkeypatch)
    assert {name: (left / name).read_bytes() for name in before} == before
