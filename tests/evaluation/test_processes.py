"""Worker processes: they change no score, inherit nothing, and don't outlive what started them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.messages import raises
from helpers.processes import TIMEOUT, environment
from helpers.random_sets import random_set, write

from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.evaluation.processes import WorkerDiedError, map_in_processes

SUBSETS = ("all", "known", "unknown", "distractor")

# no `if __name__ == "__main__"`
SCRIPT = """
import json, sys
from effowt_d2.evaluation import evaluate_tao_ow, tao_ow
print("started")
tao_ow.SMALL = 0
print(json.dumps(evaluate_tao_ow(*sys.argv[1:], workers=2)))
"""

ENDLESS = """
import sys
from effowt_d2.evaluation.processes import map_in_processes
for pid in map_in_processes(eval, ["__import__('os').getpid()"] * 2 + ["__import__('time').sleep(300)"] * 2, 2):
    print(pid, flush=True)
"""


def test_processes_change_nothing(tmp_path, monkeypatch):
    files = write(tmp_path, *random_set(4, videos=5))
    expected = evaluate_tao_ow(*files, SUBSETS, workers=1)
    monkeypatch.setattr("effowt_d2.evaluation.tao_ow.SMALL", 0)
    assert evaluate_tao_ow(*files, SUBSETS, workers=2) == expected


def test_one_worker_is_this_process(tmp_path, monkeypatch):
    files = write(tmp_path, *random_set(4, videos=5))
    monkeypatch.setattr("effowt_d2.evaluation.tao_ow.SMALL", 0)
    monkeypatch.setattr("effowt_d2.evaluation.tao_ow.map_in_processes", None)
    assert 0 < evaluate_tao_ow(*files, ["all"], workers=1)["all"]["OWTA"] < 100


@pytest.mark.slow
def test_a_script_without_a_guard_runs_once(tmp_path):
    files = write(tmp_path, *random_set(4, videos=5))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script), *files]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    began, scores = done.stdout.splitlines()
    assert began == "started" and json.loads(scores) == evaluate_tao_ow(*files)


def test_results_come_in_order_from_processes_of_the_fork_server():
    parents = list(map_in_processes(eval, ["__import__('os').getppid()"] * 9, 2))
    assert len(parents) == 9 and len(set(parents)) == 1 and parents[0] != os.getpid()
    assert list(map_in_processes(abs, range(-20, 0), 2)) == list(range(20, 0, -1))


def test_errors_pass_and_a_dead_worker_is_one():
    with pytest.raises(ZeroDivisionError):
        list(map_in_processes(eval, ["1", "1 / 0", "2"], 2))
    with raises(WorkerDiedError, "2", "workers=1"):
        list(map_in_processes(os._exit, [3], 2))


def test_items_are_made_when_they_are_needed():
    made = []
    results = map_in_processes(abs, (made.append(n) or n for n in range(100)), 2)
    assert next(results) == 0 and len(made) < 10
    assert list(results) == list(range(1, 100))


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed():
    command = [sys.executable, "-W", "ignore", "-c", ENDLESS]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as parent:
        workers = {int(parent.stdout.readline()) for _ in range(2)}
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, f"{workers} are still there"
        time.sleep(0.05)
