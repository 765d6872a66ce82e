"""The runner: each run once, the failed and the killed marked and retried, other revisions announced."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from experiments.revision import find_revision
from experiments.table import SCORES, open_runs
from helpers import FOLDER, ROOT, small_shapes
from helpers.messages import assert_says, raises
from helpers.small_plan import PLAN, Runs

SIDE = "main/side/seed1"
SMALL = {
    "DATASETS.TRAIN": ["small_train"], "DATASETS.TEST": ["small_val"], "INPUT.MIN_SIZE_TRAIN": [96],
    "INPUT.MIN_SIZE_TEST": 96, "SOLVER.MAX_ITER": 3, "SOLVER.WARMUP_ITERS": 1, "TEST.EVAL_PERIOD": 2,
    "TEST.TAO_OW.WORKERS": 1,
}  # fmt: skip


def test_a_plan_is_run_once_with_the_best_rate(runs, capsys):
    assert runs("--jobs", "2") == 0
    rows = runs.rows()
    assert len(rows) == 8 and {row["status"] for row in rows} == {"done"}
    # the dummy training's score grows with the rate
    assert json.loads(runs.row(SIDE)["keys"])["SOLVER.BASE_LR"] == 0.002
    assert [float(runs.row(f"main/side/seed{seed}")["OWTA-unknown"]) for seed in (1, 2)] == [3.0, 4.0]
    # of two at once either may end first
    curves = [
        row for row in runs.rows("curves.csv") if (row["group"], row["name"], row["seed"]) == ("main", "side", "1")
    ]
    assert [(row["step"], row["OWTA-all"]) for row in curves] == [("2", "1.5000"), ("4", "3.0000")]
    side, full = runs.row(SIDE), runs.row("main/full/seed1")
    assert 3_000_000 < int(side["trained_parameters"]) < int(full["trained_parameters"])
    assert float(side["training_mib"]) < float(full["training_mib"]) and float(side["peak_rss_mib"]) > 1
    assert (side["side_parameters"], full["side_parameters"]) == ("130237", "0")
    assert not list((runs.output / SIDE).glob("model_0*.pth"))
    before = runs.csv.read_bytes()
    assert runs() == 0
    assert runs.csv.read_bytes() == before and len(runs.starts(SIDE)) == 1
    capsys.readouterr()
    assert runs("--list") == 0
    assert capsys.readouterr().out.count("done") == 8


def test_a_run_waits_for_its_search_and_a_selection_is_one(runs, capsys):
    assert runs("--only", SIDE.rsplit("/", 1)[0]) == 1
    assert_says(capsys.readouterr().err, "main/side/seed1", "rates/side_0.001")
    assert runs("--only", "rates/side", "main/side") == 0
    assert [row["name"] for row in runs.rows()] == ["side_0.001"] * 2 + ["side_0.002"] * 2 + ["side"] * 2


def test_a_killed_and_a_failed_run_are_marked_and_retried(runs, capsys):
    runs("--only", "rates")
    runs.behave("main/side", "kill", "fail")
    assert runs("--only", "main/side") == 1
    assert {(runs.row(f"main/side/seed{s}")["status"], runs.row(f"main/side/seed{s}")["error"]) for s in (1, 2)} == {
        ("killed", "signal 9"), ("failed", "ValueError: REDUCTION 5 does not divide 192"),
    }  # fmt: skip
    assert_says(capsys.readouterr().err, "main/side/seed1", "signal 9")
    spent = float(runs.row(SIDE)["seconds"])
    assert runs("--only", "main/side") == 0
    row = runs.row(SIDE)
    assert (row["status"], row["error"]) == ("done", "") and float(row["seconds"]) > spent > 0
    assert len(runs.starts(SIDE)) == 2 and "--resume" in runs.starts(SIDE)[1]


def test_a_resumed_run_that_lacks_an_evaluation_starts_over(runs):
    runs("--only", "rates")
    runs.behave("main/side", "kill", "", "no scores", "")
    assert runs("--only", "main/side") == 1
    assert runs("--only", "main/side") == 0
    assert len(runs.starts(SIDE)) == 1 and (runs.output / SIDE / "run.log").read_text().count("$ ") == 3
    assert sum(row["group"] == "main" for row in runs.rows("curves.csv")) == 4


def test_a_fresh_run_that_lacks_an_evaluation_has_failed(runs):
    runs.behave("rates/side_0.001", "no scores")
    assert runs("--only", "rates") == 1
    assert runs.row("rates/side_0.001/seed1")["error"] == "metrics.json has no scores after step 2"


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(runs):
    runs.behave("rates/side_0.001", "hang")
    command = [sys.executable, str(ROOT / "tools/run_experiments.py"), *runs.arguments("--only", "rates/side_0.001")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: runs.starts("rates/side_0.001/seed1"))
    return process


@pytest.mark.slow
def test_what_a_killed_runner_leaves_is_marked_and_continues(runs, capsys):
    runner = started(runs)
    runner.kill()
    runner.communicate()
    assert runs.row("rates/side_0.001/seed1")["status"] == "running"
    # the training outlives its runner, and nobody else may train in its folder
    with raises(SystemExit, runs.output):
        runs()
    (child,) = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _trains_in(p, runs.output)]
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{child}").exists())
    runs.behave("rates/side_0.001", "", "fail")
    assert runs("--only", "rates/side_0.001") == 1
    assert_says(capsys.readouterr().err, "rates/side_0.001/seed1")
    assert [row["status"] for row in runs.rows()] == ["done", "failed"]


def _trains_in(process, output):
    try:
        return str(output) in (process / "cmdline").read_text() and "dummy_model" in (process / "cmdline").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_an_interrupted_runner_ends_its_runs_and_marks_them(runs):
    runner = started(runs)
    runner.send_signal(signal.SIGTERM)
    assert "interrupted" in runner.communicate(timeout=30)[1] and runner.returncode == 1
    row = runs.row("rates/side_0.001/seed1")
    assert (row["status"], row["error"]) == ("killed", "signal 15")
    assert runs("--only", "rates/side_0.001") == 0


def test_other_revisions_and_configs(runs, capsys):
    runs("--only", "rates")
    table = open_runs(runs.csv)
    table.put({**row, "revision": "0ddba11"} for row in table.rows)
    capsys.readouterr()
    assert runs("--only", "rates") == 0
    assert_says(capsys.readouterr().err, "0ddba11", 4)
    assert len(runs.starts("rates/side_0.001/seed1")) == 1
    runs.write({**PLAN, "keys": {**PLAN["keys"], "SOLVER.WARMUP_ITERS": 1}})
    assert runs("--only", "rates") == 0
    # what another config left is not resumed
    assert len(runs.rows()) == 8 and len(runs.starts("rates/side_0.001/seed1")) == 1
    assert ["WARMUP" in row["keys"] for row in runs.rows()] == [False] * 4 + [True] * 4
    assert len({row["digest"] for row in runs.rows()}) == 4


def test_a_key_pinned_at_the_value_it_had_runs_nothing_again(runs):
    runs("--only", "rates")
    before = runs.rows()
    runs.write({**PLAN, "keys": {**PLAN["keys"], "SOLVER.MOMENTUM": 0.9}})
    assert runs("--only", "rates") == 0
    assert [json.loads(row["keys"]).pop("SOLVER.MOMENTUM") for row in runs.rows()] == [0.9] * 4
    assert [{**row, "keys": ""} for row in runs.rows()] == [{**row, "keys": ""} for row in before]


def test_a_folder_of_something_else_is_left_alone(runs):
    (runs.output / "rates/side_0.001/seed1").mkdir(parents=True)
    (runs.output / "rates/side_0.001/seed1/thesis.txt").write_text("mine")
    assert runs("--only", "rates/side_0.001") == 1
    assert "no run.json" in runs.row("rates/side_0.001/seed1")["error"]
    assert (runs.output / "rates/side_0.001/seed1/thesis.txt").is_file()


def test_a_table_with_other_columns_is_refused(runs):
    runs.csv.parent.mkdir()
    runs.csv.write_text("group,name\nrates,side\n")
    with raises(SystemExit, "runs.csv", "group, name", "group, name, seed"):
        runs()


@pytest.mark.slow
def test_a_real_training_and_evaluations_of_it(tmp_path, monkeypatch, capsys):
    runs = Runs(tmp_path)
    runs.script = FOLDER / "run_train_net.py"
    again = {"same": None, "real": {"datasets": "nowhere", "keys": {"DATASETS.TEST": ["davis_tao"]}}}
    groups = {"one": {"variants": {"side": None}}, "again": {"of": "one/side", "variants": again}}
    runs.write({"config": PLAN["config"], "keys": SMALL, "groups": groups})
    monkeypatch.setenv("SMALL_SHAPES", str(tmp_path / "shapes"))
    with small_shapes.registered(tmp_path / "shapes"):
        assert runs() == 0
    assert_says(capsys.readouterr().err, "again/real/seed1", "davis_tao")
    trained, same = (runs.row(f"{path}/seed1") for path in ("one/side", "again/same"))
    assert len(runs.rows()) == 2 and [trained["steps"], same["steps"]] == ["3", "0"]
    assert [same[name] for name in SCORES] == [trained[name] for name in SCORES]
    assert float(trained["OWTA-all"]) > 0 and same["of"] == "one/side"
    assert [row["step"] for row in runs.rows("curves.csv")] == ["2", "3", "0"]
    assert int(trained["side_parameters"]) == 130_237 and 50 < float(trained["training_mib"]) < 200


def test_a_revision_identifies_what_is_executed_by_its_content(tmp_path):
    names = "train_net.py", "effowt_d2/a.py", "tools/experiments/b.py", "configs/c.yaml", "configs/experiments.yaml"
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")

    def changed(name: str) -> bool:
        before = find_revision(tmp_path)
        (tmp_path / name).write_text("2")
        return find_revision(tmp_path) != before

    assert re.fullmatch("[0-9a-f]{7}", find_revision(tmp_path))
    assert all(changed(name) for name in ("train_net.py", "effowt_d2/a.py", "configs/c.yaml", "effowt_d2/new.pt"))
    assert not any(changed(name) for name in ("tools/experiments/b.py", "configs/experiments.yaml", "README.md"))
