"""Checks of the command line, before anything long starts."""

from __future__ import annotations

import argparse
from difflib import get_close_matches

import open_clip
import torch

from effowt_d2.utils.checks import check_count

__all__ = ["check_arguments", "check_model", "check_side"]

_LEAST = {
    "batch": 1,
    "boxes_per_class": 1,
    "log_every": 1,
    "eval_every": 1,
    "threads": 1,
    "workers": 0,
    "eval_count": 0,
    "texts": 0,
    "warmup": 0,
    "decay": 0,
    "seed": 0,
}


def check_arguments(args: argparse.Namespace) -> None:
    """Make sure that the arguments of ``train_vlm.py`` can be used.

    Raises:
        ValueError: names the option, and what it must be.
    """
    for name, low in _LEAST.items():
        check_count(f"--{name.replace('_', '-')}", getattr(args, name), low)
    for name in ("folder", "captions", "boxes"):
        for *_, side in getattr(args, name):
            check_side(f"--{name}", side)
    if args.held_out:
        check_side("--held-out", args.held_out[1])
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"--output: expected a folder, and {args.output} is a file")
    check_model(args.model)
    if not _is_conv_stem(args.model):
        names = [name for name in open_clip.list_models() if _is_conv_stem(name)]
        raise ValueError(f"--model {args.model} can't be trained here; these can: {', '.join(names)}")
    _check_device(args.device)


def check_side(option: str, side: str) -> int:
    """The number of a side in pixels, or a ValueError that names the option."""
    if not side.isdecimal() or not int(side):
        raise ValueError(f"{option}: SIDE must be a whole number of pixels above 0, got {side!r}")
    return int(side)


def check_model(name: str) -> None:
    """Make sure that open_clip knows the model; the ValueError has similar names."""
    known = open_clip.list_models()
    if name not in known:
        similar = ", ".join(get_close_matches(name, known, n=5, cutoff=0))
        raise ValueError(f"--model {name} is unknown to open_clip; similar: {similar}")


def _is_conv_stem(name: str) -> bool:
    """Whether the towers of :mod:`vlm_lab.towers` are those of the model."""
    tower = open_clip.get_model_config(name)["vision_cfg"]
    return tower.get("timm_model_name", "").startswith("conv_stem_vit")


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {device} can't be used: {str(error).splitlines()[0]}") from error
