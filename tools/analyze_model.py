#!/usr/bin/env python
"""Cost of a model, by part: parameters, and optionally multiply-adds and bytes saved for the backward pass.

    python tools/analyze_model.py --config-file configs/EffOWT/effowt_vit_l14.yaml --flops

Nothing is allocated for parameters and FLOPs, however large the model. --memory runs a training step's forward pass
on the CPU with random weights.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate

from effowt_d2.analysis import count_flops, count_parameters, count_saved_bytes, dummy_batch, ratios
from effowt_d2.engine import make_config
from effowt_d2.utils.outputs import output_file


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--config-file", required=True, metavar="CONFIG", help="a file, or a name of the model zoo")
    add("--json", type=output_file, metavar="OUT", help="write the figures here too")
    add("--size", type=int, nargs=2, default=[1024, 1024], metavar=("H", "W"), help="image for --flops and --memory")
    add("--flops", action="store_true", help="multiply-adds of the inference on one image")
    add("--memory", action="store_true", help="bytes that autograd saves in a training step of one image, two views")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys; must come last")
    return parser.parse_args(argv)


def build(cfg: CfgNode, device: str) -> torch.nn.Module:
    """The model with random weights, or, on the meta device, with none."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = device
    cfg.MODEL.VLM.WEIGHTS, cfg.MODEL.VLM.ALLOW_RANDOM = "", True
    with torch.device(device):
        return build_model(cfg)


def analyze(cfg: CfgNode, *, size: tuple[int, int], flops: bool, memory: bool) -> dict:
    """All figures, as they go into the JSON file."""
    model = build(cfg, "meta")
    counts = count_parameters(model)
    figures = {
        "parameters": {name: {"frozen": part.frozen, "trained": part.trained} for name, part in counts.items()},
        "ratios": ratios(counts),
        "size": list(size),
    }
    if flops:
        boxes = {"proposals": cfg.MODEL.RPN.POST_NMS_TOPK_TEST, "detections": cfg.TEST.DETECTIONS_PER_IMAGE}
        figures["flops"] = {**boxes, "parts": count_flops(model, size, **boxes)}
    if memory:
        figures["saved_bytes"] = count_saved_bytes(build(cfg, "cpu").train(), dummy_batch(1, size))
    return figures


def tables(figures: dict) -> str:
    """The figures for people."""
    rows = [(name, part["frozen"], part["trained"]) for name, part in figures["parameters"].items()]
    side = [row for row in rows if row[0].startswith("side: ")]
    sums = [(name, sum(r[1] for r in some), sum(r[2] for r in some)) for name, some in (("side", side), ("all", rows))]
    text = _table(["parameters", "frozen", "trained"], rows + (sums if side else sums[1:]))
    shares = ((name, "none" if value is None else f"{value:.3%}") for name, value in figures["ratios"].items())
    text += "\n\n" + "\n".join(f"{name}: {value}" for name, value in shares)
    size = " x ".join(map(str, figures["size"]))
    if "flops" in figures:
        flops = figures["flops"]
        rows = [(name, round(count / 1e9, 1)) for name, count in flops["parts"].items()]
        boxes = f"{flops['proposals']} proposals, {flops['detections']} embedded"
        text += "\n\n" + _table([f"inference at {size}, {boxes}", "G multiply-adds"], rows + [_sum(rows)])
    if "saved_bytes" in figures:
        rows = [(name, round(count / 2**20, 1)) for name, count in figures["saved_bytes"].items()]
        text += "\n\n" + _table([f"saved for backward, two views of {size}", "MiB"], rows + [_sum(rows)])
    return text


def _sum(rows: list[tuple]) -> tuple:
    return ("all", round(sum(row[1] for row in rows), 1))


def _table(head: list[str], rows: list[tuple]) -> str:
    cells = [(name, *(f"{number:,}" for number in numbers)) for name, *numbers in rows]
    return tabulate(cells, head, disable_numparse=True, colalign=("left", *["right"] * (len(head) - 1)))


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        figures = analyze(
            make_config(args.config_file, args.opts), size=tuple(args.size), flops=args.flops, memory=args.memory
        )
    except (ValueError, KeyError, OSError) as error:
        print(f"analyze_model.py: error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    print(tables(figures))
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
