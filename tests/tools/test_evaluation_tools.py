"""The command line of tools/evaluate_tao_ow.py."""

import json
import runpy
import sys

import pytest
from helpers import ROOT, own_data
from helpers.messages import assert_says
from helpers.processes import run_python
from helpers.random_sets import random_set, write

from effowt_d2.evaluation import evaluate_tao_ow

TOOLS = ROOT / "tools"


def call(monkeypatch, tool, *arguments):
    """Run a tool in this process, which spares importing torch once more; returns its exit status."""
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / tool), run_name="__main__")
    return end.value.code


def test_scores_are_printed_and_written(tmp_path):
    gt, results = write(tmp_path, *random_set(9))
    scores = tmp_path / "scores.json"
    arguments = ["--gt", gt, "--results", results, "--json", scores, "--max-detections", "5"]
    printed = run_python(TOOLS / "evaluate_tao_ow.py", *arguments, "--subsets", "unknown", "all", "--check")
    expected = evaluate_tao_ow(gt, results, ["unknown", "all"], 5)
    assert json.loads(scores.read_text()) == {"max_detections": 5, "scores": expected}
    assert_says(printed, f"{expected['unknown']['OWTA']:.2f}", 5, "trackeval")


def test_identity_switches_and_kept_objects_are_counted_by_group(tmp_path, monkeypatch, capsys):
    truth = own_data.tao()
    results = [
        {"image_id": a["image_id"], "track_id": a["track_id"], "bbox": a["bbox"], "score": 0.9, "category_id": 1}
        for a in truth["annotations"]
    ]
    known, unknown = (
        [r for r, a in zip(results, truth["annotations"]) if (a["category_id"] in (3, 7)) == flag]
        for flag in (True, False)
    )
    # an object of each group changes hands: the known one once, the unknown one in every frame, and by a result too weak
    # to count once more
    known[-1]["track_id"] += 100
    unknown[1]["track_id"] += 100
    unknown[2]["track_id"] += 101
    results.append({**unknown[2], "track_id": 200, "score": 0.2})
    gt, found = write(tmp_path, truth, results)
    arguments = ["--gt", gt, "--results", found, "--known", "3", "7", "--switches", "0.3"]
    assert call(monkeypatch, "evaluate_tao_ow.py", *arguments) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "switches" in line]
    counts = {line[0]: tuple(int(word) for word in line if word.isdecimal()) for line in lines}
    # switches, objects, and those that one track holds in two of their three frames
    assert counts == {"all:": (3, 3, 2), "known:": (1, 2, 2), "unknown:": (2, 1, 0)}


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    gt, results = random_set(9)
    results[1]["score"] = 3
    gt, results = write(tmp_path, gt, results)
    assert call(monkeypatch, "evaluate_tao_ow.py", "--gt", gt, "--results", results) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert_says(printed.err, results, "entry 1", "score", 3.0)
