"""The command line: tools/evaluate_tao_ow.py and tools/benchmark_evaluation.py."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.random_sets import random_set, write

from effowt_d2.evaluation import evaluate_tao_ow

TOOLS = Path(__file__).parents[2] / "tools"


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
    done = subprocess.run(
        [sys.executable, TOOLS / "evaluate_tao_ow.py", *arguments, "--subsets", "unknown", "all", "--check"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    expected = evaluate_tao_ow(gt, results, ["unknown", "all"], 5)
    assert json.loads(scores.read_text()) == {"max_detections": 5, "scores": expected}
    assert f"{expected['unknown']['OWTA']:.2f}" in done.stdout and "at most 5 results" in done.stdout
    assert "largest difference from trackeval" in done.stdout


def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys):
    gt, results = random_set(9)
    results[1]["score"] = 3
    gt, results = write(tmp_path, gt, results)
    assert call(monkeypatch, "evaluate_tao_ow.py", "--gt", gt, "--results", results) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"error: {results}: entry 1: 'score' 3.0 must lie in [0, 1]\n" == printed.err


def test_benchmark_runs_and_agrees(monkeypatch, capsys):
    assert call(monkeypatch, "benchmark_evaluation.py", "--boxes", 10, "--videos", 2) == 0
    row = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("|").split("|")]
    assert row[:3] == ["2", "10", "740"] and float(row[-1]) == pytest.approx(0, abs=1e-9)
