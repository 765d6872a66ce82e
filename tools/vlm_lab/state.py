"""What a run leaves on disk: a checkpoint to continue from, and the model for open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.tensor_files import save_compressed

__all__ = ["export", "load_state", "save_state"]


def save_state(path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], *, step: int) -> None:
    """Write a checkpoint; the old file stays until the new one is whole."""
    content = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    write_atomically(path, lambda stream: torch.save(content, stream))


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


def export(path: Path, model: nn.Module, words: torch.Tensor) -> None:
    """Write a compressed open_clip checkpoint in half precision; the old file stays until the new one is whole.

    Args:
        path: the file.
        model: what has been trained.
        words: (V, C) the token embedding at the start. Rows that are still alike belong to words of no caption; they
            become zeros, which take no room.
    """
    state = {n: t.cpu() for n, t in model.state_dict().items()}
    state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    table = state["token_embedding.weight"]
    table[(table == words.cpu().half()).all(dim=1)] = 0
    write_atomically(path, lambda stream: save_compressed({"state_dict": state}, stream))
