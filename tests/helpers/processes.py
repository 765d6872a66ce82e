"""Programs in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from helpers import FOLDER

SCRIPT = str(FOLDER / "run_train_net.py")
"""train_net.py with the dummy models; it needs ``environment(shapes)``."""

TIMEOUT = 600
"""Seconds for a program that takes ten on an idle machine."""


def environment(shapes: Path | None = None, **more: str) -> dict[str, str]:
    """The environment of a program: one thread, no torchrun around it, this process's import path.

    Args:
        shapes: folder of the small datasets.
    """
    made = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    made.update(OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(filter(None, sys.path)), **more)
    return made if shapes is None else {**made, "SMALL_SHAPES": str(shapes)}


def run_python(*arguments, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run Python on a script and its arguments; returns what it printed. The test fails if the program does."""
    command = [sys.executable, *map(str, arguments)]
    env = environment() if env is None else env
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr
