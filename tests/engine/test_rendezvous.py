"""Processes that do not meet say so in time, with what to look at; wrong addresses are told at once."""

import re
import socket
import sys
import time

import pytest
from helpers import small_shapes, stand_in

import train_net
from effowt_d2.engine.rendezvous import RendezvousError, check_address, join_group


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    "url, word",
    [
        ("auto", "auto is for one machine, but there are 2"),
        ("tcp://head", "lacks a port"),
        ("tcp://head:0", "lacks a port"),
        ("tcp://:29500", "lacks a host"),
        ("tcp://head:port", "tcp://head:port: Port could not be cast"),
        ("tcp://head:80000", "tcp://head:80000: Port out of range"),
        ("head:29500", "is 'head:29500'; it can be auto, tcp://HOST:PORT or file:///PATH"),
        ("udp://head:29500", "is 'udp://head:29500'; it can be"),
        ("file://shared/run", "is 'file://shared/run'; it can be"),
        ("file:///nowhere/run", "there is no folder /nowhere"),
    ],
)
def test_addresses_that_cannot_be(url, word):
    with pytest.raises(ValueError, match=re.escape(word)):
        check_address(url, num_machines=2, machine_rank=1)


def test_machine_that_does_not_exist(port):
    check_address(f"tcp://127.0.0.1:{port}", num_machines=2, machine_rank=0)
    with pytest.raises(ValueError, match="--machine-rank is 2, with --num-machines 2 it can be 0 to 1"):
        check_address(f"tcp://127.0.0.1:{port}", num_machines=2, machine_rank=2)


def test_port_in_use(port):
    with socket.socket() as other:
        other.bind(("", port))
        other.listen()
        url = f"tcp://127.0.0.1:{port}"
        with pytest.raises(ValueError, match=f"port {port} of this machine: Address already in use"):
            check_address(url, num_machines=2, machine_rank=0)
        # the machine whose port it is, is another one
        check_address(url, num_machines=2, machine_rank=1)


def test_nobody_answers(port):
    began = time.monotonic()
    with pytest.raises(RendezvousError) as caught:
        join_group("gloo", url=f"tcp://127.0.0.1:{port}", rank=3, world_size=4, timeout=1)
    assert time.monotonic() - began < 10
    assert f"process 3 of 4 did not meet the others at tcp://127.0.0.1:{port} within 1 seconds" in str(caught.value)
    assert "Connection refused" in str(caught.value) and "--machine-rank 0 has started" in str(caught.value)


def test_host_that_has_no_address(port):
    with pytest.raises(RendezvousError, match=f"no.such.host.invalid:{port} within 1 seconds: .*[Nn]ame"):
        join_group("gloo", url=f"tcp://no.such.host.invalid:{port}", rank=1, world_size=2, timeout=1)


def test_others_do_not_come(port, tmp_path):
    with pytest.raises(RendezvousError, match="process 0 of 3 .* 1/3 clients joined"):
        join_group("gloo", url=f"tcp://127.0.0.1:{port}", rank=0, world_size=3, timeout=1)
    with pytest.raises(RendezvousError, match=r"missing processes: \[0, 2\]"):
        join_group("gloo", url=f"file://{tmp_path}/meet", rank=1, world_size=3, timeout=1)


@pytest.mark.parametrize(
    "options, word",
    [
        (("--num-gpus", "2", "--dist-url", "tcp://localhost"), "lacks a port"),
        (("--num-machines", "2"), "auto is for one machine"),
        (("--num-machines", "2", "--machine-rank", "5", "--dist-url", "tcp://localhost:29500"), "--machine-rank is 5"),
        (("--num-gpus", "3"), "IMS_PER_BATCH is 4, which 3 processes cannot share equally; it can be 3, 6, 9"),
        (("--num-machines", "3"), "which 3 processes cannot share equally"),
        (("SOLVER.REFERENCE_WORLD_SIZE", "8"), r"which 8 processes \(SOLVER.REFERENCE_WORLD_SIZE\) cannot share"),
    ],
)
def test_train_net_tells_in_one_line(tmp_path, monkeypatch, options, word):
    small_shapes.register(tmp_path / "shapes")
    config = tmp_path / "config.yaml"
    config.write_text(stand_in.config(tmp_path / "out", SOLVER__IMS_PER_BATCH=4).dump())
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--config-file", str(config), *options])
    with pytest.raises(SystemExit, match=f"^train_net.py: error: .*{word}"):
        train_net.run()


def test_a_batch_that_grows_with_the_processes_may_be_odd_for_them(tmp_path):
    small_shapes.register(tmp_path / "shapes")
    cfg = stand_in.config(tmp_path / "out", SOLVER__IMS_PER_BATCH=4, SOLVER__REFERENCE_WORLD_SIZE=2)
    train_net.check_config(cfg, eval_only=False, num_processes=3)
