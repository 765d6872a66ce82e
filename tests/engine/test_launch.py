"""Processes of a run: they meet, share the cores, and fail with their own words; wrong places are found at once."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from helpers import dummy_model, launched, small_shapes
from helpers.messages import assert_says, raises
from helpers.processes import environment

import train_net
from effowt_d2.engine import check_launch, launch
from effowt_d2.engine.failures import RendezvousError, WorkerError


def check(**choice):
    places = dict(num_processes=1, num_machines=1, machine_rank=0, dist_url="auto", device="cpu", dist_timeout=1.0)
    check_launch(**{**places, **choice})


@pytest.mark.parametrize(
    "url",
    [
        "tcp://head",
        "tcp://head:0",
        "tcp://:29500",
        "tcp://head:port",
        "tcp://head:80000",
        "head:29500",
        "udp://head:29500",
        "file:///shared/run",
    ],
)
def test_addresses_that_cannot_be(url):
    with raises(ValueError, "--dist-url", url):
        check(num_machines=2, machine_rank=1, dist_url=url)


def test_machines_that_do_not_exist():
    check(num_machines=2, machine_rank=1, dist_url="tcp://head:29500")
    with raises(ValueError, "--machine-rank", "--num-machines", 2, 0, 1):
        check(num_machines=2, machine_rank=2, dist_url="tcp://head:29500")
    with raises(ValueError, "--dist-url", "auto", 2, "tcp://HOST:PORT"):
        check(num_machines=2)


def test_processes_that_find_no_gpu():
    with raises(ValueError, 4096, "MODEL.DEVICE", "cuda", torch.cuda.device_count()):
        check(num_processes=4096, device="cuda")


def start(rank, url):
    launch(print, num_machines=2, machine_rank=rank, dist_url=url, dist_timeout=1, device="cpu")


def test_port_in_use(port):
    with socket.socket() as other:
        other.bind(("", port))
        other.listen()
        with raises(RendezvousError, f"tcp://localhost:{port}", "EADDRINUSE"):
            start(0, f"tcp://localhost:{port}")


@pytest.mark.parametrize("host", ["localhost", "no.such.host.invalid"])
def test_nobody_answers_in_time(host, port):
    began = time.monotonic()
    with raises(RendezvousError, "machine 1 of 2", f"tcp://{host}:{port}", "--dist-timeout 1", "--machine-rank 0"):
        start(1, f"tcp://{host}:{port}")
    assert time.monotonic() - began < 30


def test_the_other_machine_does_not_come(port):
    with raises(RendezvousError, "machine 0 of 2", f"tcp://localhost:{port}", "1/2"):
        start(0, f"tcp://localhost:{port}")


@pytest.mark.slow
def test_two_runs_at_once_do_not_meet(tmp_path):
    free = {name: value for name, value in environment().items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "helpers.launched"]
    runs = [subprocess.Popen([*command, token, str(tmp_path)], env=free) for token in ("a", "b")]
    assert [run.wait(timeout=600) for run in runs] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 6
    for token in ("a", "b"):
        threads = json.loads((tmp_path / f"{token}_alone.json").read_text())
        for rank in range(2):
            record = json.loads((tmp_path / f"{token}{rank}.json").read_text())
            assert record["place"] == [rank, 2, rank, 2] and record["tokens"] == [token, token]
            assert record["threads"] == max(1, threads // 2)


@pytest.fixture
def signals():
    """Torch's launcher leaves its handlers behind."""
    before = {
        number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "how, data", [("known", ("model.pth was trained on another tower",)), ("killed", ("process 1", "SIGKILL"))]
)
def test_a_process_fails_with_its_own_words(signals, capfd, how, data):
    # what happens to an error of another kind: test_other_world_size.py
    with raises(WorkerError, *data) as caught:
        launch(launched.fail, num_processes=2, device="cpu", args=(how,))
    assert "CheckpointError" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "options, data",
    [
        (("--num-gpus", "2", "--dist-url", "tcp://localhost"), ("--dist-url", "tcp://localhost")),
        (("--num-machines", "2"), ("--dist-url", "auto", 2)),
        (("--num-machines", "2", "--machine-rank", "5", "--dist-url", "tcp://localhost:29500"), ("--machine-rank", 5)),
        (("--num-gpus", "3"), ("SOLVER.IMS_PER_BATCH", 4, 3, 6, 9)),
        (("--num-machines", "3"), ("SOLVER.IMS_PER_BATCH", 4, 3)),
        (("SOLVER.REFERENCE_WORLD_SIZE", "8"), ("SOLVER.IMS_PER_BATCH", 4, "SOLVER.REFERENCE_WORLD_SIZE", 8)),
    ],
)
def test_train_net_reports_in_one_line(tmp_path, monkeypatch, options, data):
    small_shapes.register(tmp_path / "shapes")
    config = tmp_path / "config.yaml"
    config.write_text(dummy_model.config(tmp_path / "out", SOLVER__IMS_PER_BATCH=4).dump())
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--config-file", str(config), *options])
    with pytest.raises(SystemExit) as caught:
        train_net.run()
    (line,) = str(caught.value).splitlines()
    assert line.startswith("train_net.py: error: ")
    assert_says(line, *data)


def test_a_batch_that_grows_with_the_processes_may_be_odd_for_them(tmp_path):
    small_shapes.register(tmp_path / "shapes")
    cfg = dummy_model.config(tmp_path / "out", SOLVER__IMS_PER_BATCH=4, SOLVER__REFERENCE_WORLD_SIZE=2)
    train_net.check_config(cfg, eval_only=False, num_processes=3)
