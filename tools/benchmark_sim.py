#!/usr/bin/env python3
"""Time and memory of the sparse interaction against the dense MLP that it replaces. It only reports.

    python tools/benchmark_sim.py --size 256 --channels 256 --threads 2 --json sim.json

Both run forward and backward on the same map in turn, and the fastest run of each counts. Saved bytes are what
autograd keeps for the backward pass besides parameters, every storage once. CPU seconds are those of all threads
together; unlike the wall's they hardly grow when other programs use the machine, if there is one thread.
"""

import argparse
import json
import sys
import time

import torch
from torch import Tensor, nn

from effowt_d2.analysis import count_saved_bytes
from effowt_d2.modeling.side.block import DenseMLP
from effowt_d2.modeling.side.sparse_interaction import SparseInteraction
from effowt_d2.utils.outputs import output_file


def run(module: nn.Module, x: Tensor, gradient: Tensor) -> tuple[float, float, float]:
    """Wall seconds of the forward and of the backward pass, and CPU seconds of both."""
    x.grad = None
    module.zero_grad()
    cpu, start = time.process_time(), time.perf_counter()
    y = module(x)
    middle = time.perf_counter()
    y.backward(gradient)
    end = time.perf_counter()
    return middle - start, end - middle, time.process_time() - cpu


def compare(height: int, width: int, channels: int, repeats: int) -> dict:
    """Figures of both modules and the ratios of the sparse interaction's to the MLP's."""
    torch.manual_seed(0)
    x = torch.randn(1, height, width, channels, requires_grad=True)
    gradient = torch.randn(1, height, width, channels)
    modules = {
        "mlp": DenseMLP(channels=channels, hidden=4 * channels),
        "sim": SparseInteraction(channels),
    }
    figures: dict = {
        name: {"saved_bytes": sum(count_saved_bytes(module, x).values())} for name, module in modules.items()
    }
    for module in modules.values():
        run(module, x, gradient)
    runs = [{name: run(module, x, gradient) for name, module in modules.items()} for _ in range(repeats)]
    for name in modules:
        forward, backward, _ = min((r[name] for r in runs), key=lambda times: times[0] + times[1])
        figures[name].update(forward=forward, backward=backward, seconds=forward + backward)
        figures[name]["cpu_seconds"] = min(r[name][2] for r in runs)
    for ratio, key in (("time_ratio", "seconds"), ("cpu_ratio", "cpu_seconds"), ("saved_ratio", "saved_bytes")):
        figures[ratio] = figures["sim"][key] / figures["mlp"][key]
    return figures


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[256], help="side of the map, or height and width")
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each")
    parser.add_argument("--json", type=output_file, help="write the figures to this file")
    args = parser.parse_args(argv)
    if len(args.size) > 2:
        parser.error(f"--size takes a side, or height and width, got {args.size}")
    torch.set_num_threads(args.threads)

    height, width = args.size[0], args.size[-1]
    figures = compare(height, width, args.channels, args.repeats)
    print(
        f"1 x {height} x {width} tokens, C = {args.channels}, fp32, {args.threads} thread(s), torch {torch.__version__}"
    )
    for name in ("mlp", "sim"):
        f = figures[name]
        print(
            f"{name}: forward {f['forward']:.4f} s, backward {f['backward']:.4f} s, together {f['seconds']:.4f} s, "
            f"CPU {f['cpu_seconds']:.4f} s, saved {f['saved_bytes'] / 2**20:.1f} MiB"
        )
    print(
        f"time ratio {figures['time_ratio']:.3f}, CPU time ratio {figures['cpu_ratio']:.3f}, "
        f"saved-bytes ratio {figures['saved_ratio']:.3f}"
    )
    if args.json:
        with open(args.json, "w") as file:
            json.dump(figures, file, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
