"""Stochastic depth (arXiv 1603.09382): in training, a residual branch is dropped at random, per image."""

from collections.abc import Callable

import torch
from timm.layers import drop_path
from torch import Tensor

__all__ = ["SUBSET_ABOVE", "add_branch", "add_on_rows", "kept_rows"]

SUBSET_ABOVE = 0.1
"""Above this rate the branch runs on a random part of the batch only, as in DINOv2, which saves its cost elsewhere."""


def add_branch(x: Tensor, branch: Callable[[Tensor, Tensor | None], Tensor], rate: float) -> Tensor:
    """``x`` plus its branch, which is dropped with probability ``rate`` and scaled so that its mean stays.

    Args:
        x: (B, ...).
        branch: takes ``x`` and None, or some rows of ``x`` and their numbers; returns what is added to them.
        rate: in [0, 1); 0 outside of training.
    """
    if rate <= SUBSET_ABOVE:
        y = branch(x, None)
        return x + (drop_path(y, rate, training=True) if rate else y)
    return add_on_rows(x, branch, kept_rows(len(x), rate, x.device))


def kept_rows(batch: int, rate: float, device: torch.device) -> Tensor:
    """Numbers of the rows that a branch runs on, at least one."""
    return torch.randperm(batch, device=device)[: max(1, int(batch * (1 - rate)))]


def add_on_rows(x: Tensor, branch: Callable[[Tensor, Tensor], Tensor], rows: Tensor) -> Tensor:
    """``x`` plus its branch on these rows, scaled by how few they are."""
    y = branch(x[rows], rows)
    return x.index_add(0, rows, y.to(x.dtype), alpha=len(x) / len(rows))
