"""What a run leaves on disk: a checkpoint to continue from, and the model for open_clip."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.state_dicts import check_tensors
from effowt_d2.utils.tensor_files import read_tensors, save_compressed

__all__ = ["export", "load_state", "save_state"]

_LASTING = ("model", "seed", "words_content")  # settings that no run is continued without
logger = logging.getLogger("train_vlm")


def save_state(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    *,
    step: int,
    settings: Mapping[str, Any],
) -> None:
    """Write a checkpoint; the old file stays until the new one is whole.

    Args:
        path: the file.
        model, optimizers: their present state is written.
        step: number of steps done.
        settings: what shapes the run, as plain values.
    """
    content = {
        "step": step,
        "model": model.state_dict(),
        "optimizers": [o.state_dict() for o in optimizers],
        "settings": dict(settings),
    }
    write_atomically(path, lambda stream: torch.save(content, stream))


def load_state(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], *, settings: Mapping[str, Any]
) -> int:
    """Continue from a checkpoint; changed settings are named in the log, and used from here on.

    Args:
        path: the file.
        model, optimizers: get the state of the file. Rates and decay of the optimizers stay as they are.
        settings: of this run.

    Returns:
        The number of steps done.

    Raises:
        ValueError: the file is damaged or no such checkpoint, or its model, seed or words are others.
    """
    state = read_tensors(str(path))
    missing = {"step", "model", "optimizers"} - set(state if isinstance(state, dict) else ())
    if missing:
        held = f"the keys {sorted(state)[:5]}" if isinstance(state, dict) else f"a {type(state).__name__}"
        raise ValueError(f"{path} is no checkpoint to continue from: it holds {held}, and no {sorted(missing)}")
    # older checkpoints have no settings
    _compare(path, state.get("settings", {}), settings)
    check_tensors(state["model"], model.state_dict(), problem=f"{path} is not of this model")
    model.load_state_dict(state["model"])
    try:
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict({**saved, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has no optimizers of this model: {error!r}") from error
    return state["step"]


def _compare(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = {name: f"{name} {old[name]} → {new[name]}" for name in new if name in old and old[name] != new[name]}
    lasting = [text for name, text in changed.items() if name in _LASTING]
    if lasting:
        raise ValueError(f"{path} is of another run, that can't be continued with: {'; '.join(lasting)}")
    if changed:
        logger.warning("%s was made with other settings: %s", path, "; ".join(changed.values()))


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
