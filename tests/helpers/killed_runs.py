"""Runs of train_net.py in processes of their own, which can be killed at a stated moment."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from helpers.processes import SCRIPT, environment


@dataclass(frozen=True)
class Moment:
    """When to kill: ``delay`` seconds after the file ``sign`` has appeared in the output folder; "": after the start.

    Signs come from a run that was left alone, so moments stay where they belong when the machine is slow.
    """

    sign: str
    delay: float


def start(config, shapes, output, *options):
    arguments = [SCRIPT, "--config-file", str(config), "--resume", *options, "OUTPUT_DIR", str(output)]
    with open(f"{output}.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, *arguments], env=environment(shapes), stdout=log, stderr=subprocess.STDOUT
        )


def finish(config, shapes, output):
    code = start(config, shapes, output).wait(timeout=600)
    assert code == 0, Path(f"{output}.log").read_text()[-4000:]


def kill_at(moment, config, shapes, output):
    """Start, or go on with, the run in ``output`` and kill it; False if it ended before the moment came."""
    sign = output / moment.sign
    if moment.sign.endswith(".tmp"):
        sign.unlink(missing_ok=True)  # of an earlier kill
    process = start(config, shapes, output)
    while moment.sign and not sign.exists() and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(moment.delay)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def moments(seed, *, starts, steps, writes, names, start_seconds, step_seconds, write_seconds):
    """Seeded moments of three kinds: while starting, between two checkpoints, while a checkpoint is written."""
    draw = random.Random(seed)
    made = [Moment("", draw.uniform(0, start_seconds)) for _ in range(starts)]
    made += [Moment(draw.choice(names), draw.uniform(0, step_seconds)) for _ in range(steps)]
    made += [Moment(f"{draw.choice(names)}.tmp", draw.uniform(0, write_seconds)) for _ in range(writes)]
    return made


def differences(output, expected):
    """Names of what two runs ended with differently: trained weights, optimizer and schedule, tracks."""
    found = []
    ends = [torch.load(folder / "model_final.pth", weights_only=True) for folder in (output, expected)]
    compare([{key: value for key, value in end.items() if key != "effowt"} for end in ends], "", found)
    results = [folder / "inference" / "mini_val" / "tao_ow_results.json" for folder in (output, expected)]
    if results[0].read_bytes() != results[1].read_bytes():
        found.append(results[0].name)
    return found


def compare(pair, place, found):
    a, b = pair
    if isinstance(a, torch.Tensor):
        equal = torch.equal(a, b)
    elif isinstance(a, dict):
        equal = a.keys() == b.keys()
        for key in a.keys() & b.keys():
            compare((a[key], b[key]), f"{place}/{key}", found)
    elif isinstance(a, (list, tuple)):
        equal = len(a) == len(b)
        for number, items in enumerate(zip(a, b)):
            compare(items, f"{place}/{number}", found)
    else:
        equal = a == b
    if not equal:
        found.append(place)
