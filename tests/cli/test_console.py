"""What is on the screen: this package's notes and warnings, and with --verbose everybody's."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from helpers.blobs import run
from helpers.dummy_model import BlobTracker
from helpers.made_videos import make_video

from effowt_d2.cli.console import suppress_output

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch):
    """The package's logger as a new process has it: a training in this one keeps its log from the root logger."""
    logger = logging.getLogger("effowt_d2")
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(logger, "handlers", [])
    level = logger.level
    logger.setLevel(logging.NOTSET)
    yield
    logger.setLevel(level)


@pytest.mark.parametrize("verbose", [False, True])
def test_others_are_heard_only_where_that_is_asked_for(verbose, capsys):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with suppress_output(verbose):
        warnings.warn("of Python", UserWarning, stacklevel=1)
        for name in ("others.part", "effowt_d2.part"):
            for level in ("INFO", "WARNING", "ERROR"):
                logging.getLogger(name).log(logging.getLevelName(level), f"{name} {level}")
    assert (root.level, root.handlers) == before
    printed = capsys.readouterr().err
    messages = {
        "of Python",
        *(f"{name} {level}" for name in ("others.part", "effowt_d2.part") for level in ("INFO", "WARNING")),
    }
    printed_messages = messages if verbose else {"effowt_d2.part WARNING"}
    assert {words for words in messages if words in printed} == printed_messages
    assert "others.part ERROR" in printed and "effowt_d2.part ERROR" in printed


@pytest.mark.parametrize("verbose", [False, True])
def test_a_run_warns_of_nothing_but_what_concerns_it(config_file, video, tmp_path, monkeypatch, capsys, verbose):
    def warn():
        warnings.warn_explicit("of the model", UserWarning, __file__, 1)

    monkeypatch.setattr(BlobTracker, "on_frame", {3: warn})
    choice = ["--verbose"] if verbose else []
    assert run(config_file, "--input", video, "--results", tmp_path / "r.json", *choice) == 0
    assert ("of the model" in capsys.readouterr().err) == verbose


@pytest.mark.parametrize("photographs", [False, True])
def test_a_model_that_saw_no_photographs_reports_it(config_file, video, tmp_path, capsys, photographs):
    card = config_file.parent / "model.card.yaml"
    card.write_text(json.dumps(dict(name="blobs", training_data="painted blobs", photographs=photographs)))
    try:
        assert run(config_file, "--input", video, "--results", tmp_path / "r.json") == 0
    finally:
        card.unlink()
    notices = [line for line in capsys.readouterr().out.splitlines() if "painted blobs" in line]
    assert len(notices) == (not photographs)


def test_the_quick_model_starts_with_one_line(tmp_path):
    video = make_video(tmp_path / "v.avi", 1)
    command = [ROOT / "demo" / "demo.py", "--config-file", "quick/shapes_ow_effowt.yaml", "--device", "cpu"]
    arguments = ["--input", video, "--results", tmp_path / "r.json", "--max-side", "64"]
    done = subprocess.run(
        [sys.executable, *map(str, [*command, *arguments])], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "ShapesOW" in line] == done.stdout.splitlines()[:1]
    rest = [line for line in done.stderr.splitlines() if line and not line.lstrip("\r").startswith("tracking")]
    # the only warning is of this package's own
    assert all("ShapesCLIP-S-16.pt" in line for line in rest), rest
