"""Signals that end a run between two frames."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from effowt_d2.inference.stop_signal import StopSignal

MODULE = Path(__file__).parents[2] / "effowt_d2/inference/stop_signal.py"

# loads the module alone: the package would take seconds to import
LOOP = f"""
import importlib.util, signal, sys, time
spec = importlib.util.spec_from_file_location("stop_signal", {str(MODULE)!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.StopSignal() as stop:
    open(sys.argv[1] + ".ready", "w").close()
    end = time.monotonic() + 60
    while not stop and time.monotonic() < end:
        time.sleep(0.01)
        print("frame", flush=True)
    print("finished", flush=True)
    open(sys.argv[1], "w").write("stopped" if stop else "not stopped")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_the_handler_comes_back(number):
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop
        # a second one does what it did before
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_ends_the_loop_and_what_is_printed_afterwards_does_no_harm(tmp_path):
    result, ready = tmp_path / "result", tmp_path / "result.ready"
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP, str(result)],
        stdin=other_end, stdout=other_end, stderr=other_end, preexec_fn=_own_terminal,
    )  # fmt: skip
    os.close(other_end)
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline:
        os.read(terminal, 4096) if ready.exists() else time.sleep(0.01)
    os.close(terminal)
    assert process.wait(60) == 0
    assert result.read_text() == "stopped"


def _own_terminal() -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
