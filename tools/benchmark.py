#!/usr/bin/env python
"""What training and inference cost with each transfer strategy, on the same tower, image, batch and heads.

    python tools/benchmark.py --config-file configs/EffOWT/effowt_vit_l14.yaml --size 1024 1024 --json OUT

Training memory is the sum of weights, gradients, AdamW's state, and what autograd saved (by hooks on saved tensors; on a GPU the
allocator's peak is written beside it). Weights are random, images noise.
"""

import argparse
import gc
import json
import sys
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from tabulate import tabulate

from effowt_d2.analysis import count_saved_bytes, made_up_batch
from effowt_d2.engine import build_optimizer, make_config

STRATEGIES = ("full", "zero_shot", "side")
HEADS = ("RPN", "cascade heads", "ReID", "other")
GIB = 2**30


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE")
    add("--size", type=int, nargs=2, default=[1024, 1024], metavar=("H", "W"))
    add("--batch", type=int, default=1, help="images")
    add("--views", type=int, choices=(1, 2), default=2, help="2: each image with its reference view, as in training")
    add("--runs", type=int, default=2, help="timed repetitions; the fastest counts")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--json", metavar="OUT")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; last of all")
    return parser.parse_args()


def build(cfg: CfgNode, strategy: str, device: str) -> torch.nn.Module:
    """The model with random weights; the same seed for all strategies, so that the heads agree."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE, cfg.MODEL.TRANSFER.STRATEGY = device, strategy
    cfg.MODEL.VLM.WEIGHTS, cfg.MODEL.VLM.ALLOW_RANDOM = "", True
    torch.manual_seed(0)
    return build_model(cfg)


def measure(cfg: CfgNode, strategy: str, args: argparse.Namespace) -> dict:
    """All figures of one strategy: bytes and seconds."""
    model = build(cfg, strategy, args.device).train()
    optimizer = build_optimizer(cfg, model)
    batch = made_up_batch(args.batch, tuple(args.size))
    if args.views == 1:
        batch = [{k: v for k, v in sample.items() if k != "reference"} for sample in batch]
    saved = count_saved_bytes(model, batch)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    memory = {
        "weights": sum(p.numel() * p.element_size() for p in model.parameters()),
        "gradients": trained,
        "optimizer": 2 * trained,
        "saved by backbone": sum(v for k, v in saved.items() if not k.startswith(HEADS)),
        "saved by heads": sum(v for k, v in saved.items() if k.startswith(HEADS)),
    }
    figures = {"trained parameters": trained // 4, "memory": memory, "saved": saved}
    if args.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    figures["step seconds"] = fastest(lambda: step(model, optimizer, batch), args)
    if args.device.startswith("cuda"):
        figures["allocator peak"] = torch.cuda.max_memory_allocated()
    model.eval()
    frame = [{k: v for k, v in batch[0].items() if k in ("image", "height", "width")}]
    with torch.no_grad():
        figures["inference seconds"] = fastest(lambda: model(frame), args)
    return figures


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: list) -> None:
    with EventStorage():
        losses = model(batch)
    optimizer.zero_grad()
    sum(losses.values()).backward()
    optimizer.step()


def fastest(run, args: argparse.Namespace) -> float:
    """Seconds of the fastest run after one that warms up."""
    times = []
    for _ in range(args.runs + 1):
        start = time.perf_counter()
        run()
        if args.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def table(figures: dict) -> str:
    """A line per strategy, with ratios to ``full`` in brackets."""
    full = figures["full"]
    rows = []
    for name, f in figures.items():
        total, of = (sum(x["memory"].values()) for x in (f, full))
        bare, bare_of = (sum(v for k, v in x["memory"].items() if k != "saved by heads") for x in (f, full))
        cells = [f"{f['memory'][key] / GIB:.2f}" for key in full["memory"]]
        rows.append(
            [name, *cells, _ratio(total, of, GIB), _ratio(bare, bare_of, GIB)]
            + [_ratio(f[key], full[key], 1) for key in ("step seconds", "inference seconds")]
        )
    titles = [*full["memory"], "total", "total without saved by heads"]
    head = ["strategy", *(f"{title} GiB" for title in titles), "step s", "inference s"]
    return tabulate(rows, head, tablefmt="pipe")


def _ratio(value: float, of: float, unit: float) -> str:
    return f"{value / unit:.2f} ({value / of:.2f})"


def main() -> int:
    args = parse_args()
    try:
        cfg = make_config(args.config_file, args.opts)
        figures = {}
        for strategy in STRATEGIES:
            figures[strategy] = measure(cfg, strategy, args)
            gc.collect()
            print(f"{strategy}: step {figures[strategy]['step seconds']:.2f} s", file=sys.stderr, flush=True)
    except (ValueError, OSError) as error:
        sys.exit(f"benchmark.py: error: {error}")
    print(table(figures))
    overhead = figures["side"]["inference seconds"] / figures["zero_shot"]["inference seconds"] - 1
    print(f"\nside network's inference over zero_shot's: {overhead:+.1%}")
    if args.json:
        about = {"torch": torch.__version__, "threads": torch.get_num_threads(), **vars(args)}
        Path(args.json).write_text(json.dumps({"about": about, "figures": figures}, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
