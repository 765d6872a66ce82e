#!/usr/bin/env python
"""Cost of training and inference with each transfer strategy, PEFT method and token reduction.

    python tools/benchmark.py --config-file configs/EffOWT/effowt_vit_l14.yaml --size 1024 1024 --json OUT

Training is in the config's precision (SOLVER.AMP), inference in TEST.PRECISION and without association. Training memory is
the sum of weights, gradients, AdamW's state, and what autograd saved (by hooks on saved tensors).
Beside it stand the process's peak resident memory, each strategy in a process of its own, and on a GPU the allocator's
peak. Weights are random, images noise. The table is Markdown; ratios are to ``full`` without token reduction. With

    python tools/benchmark.py --config-file CONFIG --strategies full side --methods none lora --reductions none sparse \
        --keep-rates 0.7 0.5

``side`` and ``side`` with LoRA are measured on all tokens, and on 0.7 and 0.5 of them at each stage, ``full`` on all.
"""

import argparse
import datetime
import itertools
import json
import multiprocessing
import os
import platform
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import detectron2
import open_clip
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from tabulate import tabulate

import effowt_d2
from effowt_d2.analysis import count_parameters, count_saved_bytes, dummy_batch, training_memory
from effowt_d2.engine import build_optimizer, make_config
from effowt_d2.engine.step import Precision, clip_gradients, inference_autocast, training_precision
from effowt_d2.modeling.peft import METHODS
from effowt_d2.modeling.tokens import NONE
from effowt_d2.modeling.tokens import REDUCTIONS as REDUCTIONS_BY_NAME
from effowt_d2.utils.imports import import_modules
from effowt_d2.utils.outputs import output_file

STRATEGIES = ("full", "zero_shot", "side")
PEFT_METHODS = tuple(name for name in METHODS.names() if name != "full")
REDUCTIONS = (NONE, *REDUCTIONS_BY_NAME.names())
GIB = 2**30


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="CONFIG", help="a file, or a name of the model zoo")
    add("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="ratios need full among them")
    add("--methods", nargs="+", choices=PEFT_METHODS, default=[NONE], help="of PEFT, with all strategies but full")
    add("--reductions", nargs="+", choices=REDUCTIONS, default=[NONE], help="of tokens (MODEL.TOKENS.REDUCTION)")
    add("--keep-rates", type=float, nargs="+", default=[0.7], metavar="R", help="of every stage, for each reduction")
    add("--size", type=int, nargs=2, default=[1024, 1024], metavar=("H", "W"))
    add("--batch", type=int, default=1, help="images")
    add("--views", type=int, choices=(1, 2), default=2, help="2: image and reference view, as in training")
    add("--runs", type=int, default=2, help="timed repetitions; the fastest counts")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--json", type=output_file, metavar="OUT")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; must come last")
    args = parser.parse_args(argv)
    for name in ("batch", "runs"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(args, name)}")
    return args


def build(cfg: CfgNode, strategy: str, device: str) -> torch.nn.Module:
    """The model with random weights; the same seed for all strategies, so that the heads agree."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE, cfg.MODEL.TRANSFER.STRATEGY, cfg.MODEL.TRANSFER.NECK = device, strategy, ""
    cfg.MODEL.VLM.WEIGHTS, cfg.MODEL.VLM.ALLOW_RANDOM = "", True
    if strategy == "full":
        cfg.MODEL.VLM.PRECISION = "float32"
    torch.manual_seed(0)
    return build_model(cfg)


def variants(cfg: CfgNode, args: argparse.Namespace) -> dict[str, tuple[CfgNode, str]]:
    """What is measured, by name: a config and a strategy.

    Raises:
        ValueError: a model cannot be built; found out here, before minutes of measuring.
    """
    found = {}
    for strategy, method, reduction in itertools.product(args.strategies, args.methods, args.reductions):
        if strategy == "full":
            # the same whatever the other options are: the others are compared with it
            method = reduction = NONE
        for rate in args.keep_rates:
            changed = cfg.clone()
            changed.MODEL.PEFT.METHOD = "" if method == NONE else method
            changed.MODEL.TOKENS.REDUCTION, changed.MODEL.TOKENS.KEEP_RATES = reduction, [rate]
            name = strategy if method == NONE else f"{strategy} + {method}"
            found[name if reduction == NONE else f"{name}, {reduction} {rate:g}"] = (changed, strategy)
    for name, (changed, strategy) in found.items():
        try:
            with torch.device("meta"):
                build(changed, strategy, "meta")
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return found


def measure(cfg: CfgNode, strategy: str, args: argparse.Namespace) -> dict:
    """All figures of one strategy: bytes and seconds. Best in a new process, whose memory has no past."""
    on_gpu = args.device.startswith("cuda")
    model = build(cfg, strategy, args.device).train()
    optimizer = build_optimizer(cfg, model)
    if on_gpu:
        torch.cuda.set_device(args.device)
    precision = training_precision(cfg, torch.device(args.device).type)
    batch = dummy_batch(args.batch, tuple(args.size))
    if args.views == 1:
        batch = [{k: v for k, v in sample.items() if k != "reference"} for sample in batch]
    # this also warms up: on a CPU a step of a large model takes minutes
    with precision.autocast():
        saved = count_saved_bytes(model, batch)
    figures = {"trained parameters": sum(part.trained for part in count_parameters(model).values())}
    figures["memory"] = training_memory(cfg, model, saved)
    figures["saved"] = saved
    fill_state(optimizer)
    if on_gpu:
        step(cfg, model, optimizer, precision, batch)
        torch.cuda.reset_peak_memory_stats()
    figures["step seconds"] = fastest(lambda: step(cfg, model, optimizer, precision, batch), args)
    if on_gpu:
        figures["allocator peak"] = torch.cuda.max_memory_allocated()
    # Linux counts it in KiB
    figures["resident peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    model.eval()
    optimizer.zero_grad()
    frame = [{k: v for k, v in batch[0].items() if k in ("image", "height", "width")}]
    cfg.MODEL.DEVICE = args.device
    with torch.inference_mode(), inference_autocast(cfg):
        model(frame)
        figures["inference seconds"] = fastest(lambda: model(frame), args)
    return figures


def fill_state(optimizer: torch.optim.Optimizer) -> None:
    """Make the optimizer's state, which the backward pass of every step but the first has beside it."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def step(cfg: CfgNode, model: torch.nn.Module, optimizer, precision: Precision, batch: list) -> None:
    """As in training (``StepTrainer``), without its report."""
    optimizer.zero_grad()
    with EventStorage(), precision.autocast():
        losses = model(batch)
    precision.scaler.scale(sum(losses.values())).backward()
    precision.scaler.unscale_(optimizer)
    clip_gradients(optimizer, cfg.SOLVER.CLIP_GRADIENTS)
    precision.scaler.step(optimizer)
    precision.scaler.update()


def fastest(run, args: argparse.Namespace) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(args.runs):
        if args.device.startswith("cuda"):
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if args.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def summary(figures: dict) -> dict:
    """The figures that are compared between strategies, by title."""
    memory = figures["memory"]
    total = sum(memory.values())
    found = {f"{title} GiB": value / GIB for title, value in memory.items()}
    found["total GiB"] = total / GIB
    found["total without saved by heads GiB"] = (total - memory["saved by heads"]) / GIB
    if "allocator peak" in figures:
        found["allocator peak GiB"] = figures["allocator peak"] / GIB
    found["resident peak GiB"] = figures["resident peak"] / GIB
    found["step s"], found["inference s"] = figures["step seconds"], figures["inference seconds"]
    return found


def ratios_to_full(figures: dict) -> dict:
    """By strategy and title; nothing where ``full`` was not measured, or is 0."""
    if "full" not in figures:
        return {}
    full = summary(figures["full"])
    return {
        name: {title: value / full[title] for title, value in summary(f).items() if full[title]}
        for name, f in figures.items()
    }


def table(figures: dict) -> str:
    """A line per strategy, with ratios to ``full`` in brackets."""
    ratios = ratios_to_full(figures)
    rows, titles = [], []
    for name, f in figures.items():
        titles = list(summary(f))
        of = ratios.get(name, {})
        cells = [f"{v:.2f}" + (f" ({of[title]:.2f})" if title in of else "") for title, v in summary(f).items()]
        rows.append([name, *cells])
    return tabulate(rows, ["strategy", *titles], tablefmt="pipe", disable_numparse=True)


def about(args: argparse.Namespace, cfg: CfgNode) -> dict:
    """Machine, versions and date."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(args.device) if args.device.startswith("cuda") else None,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "detectron2": detectron2.__version__,
        "open_clip": open_clip.__version__,
        "effowt_d2": effowt_d2.__version__,
        "training precision": cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else "float32",
        **vars(args),
    }


def measure_all(cfg: CfgNode, args: argparse.Namespace) -> tuple[dict, list[str]]:
    """Figures by name, and the names of those that did not run: what is large may be killed when memory runs out."""
    figures, killed = {}, []
    for name, (changed, strategy) in variants(cfg, args).items():
        # unlike multiprocessing's own pool, this one reports when its process was killed
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, initializer=import_modules, initargs=(cfg.IMPORTS,)) as pool:
            try:
                figures[name] = pool.submit(measure, changed, strategy, args).result()
            except BrokenProcessPool:
                killed.append(name)
        did = f"step {figures[name]['step seconds']:.2f} s" if name in figures else "its process was killed"
        print(f"{name}: {did}", file=sys.stderr, flush=True)
    return figures, killed


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        cfg = make_config(args.config_file, args.opts)
        figures, killed = measure_all(cfg, args)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"benchmark.py: error: {error}")
    facts = about(args, cfg)
    print(
        f"{facts['gpu'] or facts['cpu']}, {facts['threads']} thread(s), torch {facts['torch']}, "
        f"{facts['training precision']}, {facts['date']}\n"
    )
    print(table(figures))
    if {"side", "zero_shot"} <= figures.keys():
        overhead = figures["side"]["inference seconds"] / figures["zero_shot"]["inference seconds"] - 1
        print(f"\nside network's inference over zero_shot's: {overhead:+.1%}")
    if args.json:
        report = {"about": facts, "figures": figures, "ratios to full": ratios_to_full(figures)}
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    if killed:
        sys.exit(f"benchmark.py: error: {', '.join(killed)}: the process was killed; is the memory enough?")
    return 0


if __name__ == "__main__":
    sys.exit(main())
