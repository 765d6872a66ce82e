"""Processes that run one script, and end with the runner."""

import fcntl
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

__all__ = ["Launcher"]

MIB = 2**20


class Launcher:
    """Starts processes, and sees to it that no two runners work in one folder.

    A lock is held by the runner and by each process that it starts: those that a killed runner leaves behind keep it.

    Args:
        script: ``train_net.py``, or a script that takes the same arguments.
        root: of the checkout, in which it runs.
        output: folder of the runs; made if it isn't there.

    Raises:
        BlockingIOError: another runner, or a run that it left behind, is still at work there.
    """

    def __init__(self, script: Path, root: Path, output: Path):
        self.root = root
        self._script = script.absolute()
        self._children: dict[int, subprocess.Popen] = {}
        self._guard = threading.Lock()
        self._stopped = False
        output.mkdir(parents=True, exist_ok=True)
        self._lock = open(output / ".lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BlockingIOError(
                f"another runner, or a run that a killed one has left behind, is still at work in {output}"
            ) from None

    def call(self, arguments: list[str], log: Path, environment: dict[str, str]) -> tuple[int, float]:
        """Run the script to its end; its output is added to the log.

        Returns:
            Its exit status, or minus the signal that ended it; MiB of memory at its peak.
        """
        command = [sys.executable, str(self._script), *arguments]
        with open(log, "a") as stream:
            stream.write(f"$ {shlex.join(command)}\n")
            stream.flush()
            with self._guard:
                if self._stopped:
                    return -15, 0.0
                # a session of its own: a Ctrl-C is for the runner, which then ends its processes
                child = subprocess.Popen(
                    command, stdout=stream, stderr=subprocess.STDOUT, cwd=self.root, env=environment,
                    pass_fds=(self._lock.fileno(),), start_new_session=True,
                )  # fmt: skip
                self._children[child.pid] = child
            _, status, usage = os.wait4(child.pid, 0)
        with self._guard:
            del self._children[child.pid]
            child.returncode = os.waitstatus_to_exitcode(status)
        # kilobytes on Linux, bytes on macOS
        return child.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / MIB

    def stop(self) -> None:
        """End the processes; none is started any more."""
        with self._guard:
            self._stopped = True
            for child in self._children.values():
                child.terminate()

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()
