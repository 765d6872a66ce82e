"""What a run leaves on disk: a checkpoint to continue from, and the model for open_clip."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

__all__ = ["export", "load_state", "save_state"]


def save_state(path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], *, step: int) -> None:
    """Write a checkpoint; the old file stays until the new one is whole."""
    _write({"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}, path)


def load_state(path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Continue from a checkpoint.

    Returns:
        The number of steps done.

    Raises:
        ValueError: the file is not such a checkpoint, or it is of another model.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no checkpoint of this model to continue from: {error}") from error
    return state["step"]


def export(path: Path, model: nn.Module) -> None:
    """Write an open_clip checkpoint in half precision."""
    _write({"state_dict": {n: t.half() if t.is_floating_point() else t for n, t in model.state_dict().items()}}, path)


def _write(content: dict, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)
