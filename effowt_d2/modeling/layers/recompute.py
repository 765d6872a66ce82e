"""Activation checkpointing for cheap operations."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

__all__ = ["recomputed"]


def recomputed(function: Callable, *args: Any) -> Any:
    """``function(*args)``, of which autograd keeps the arguments only.

    The function runs again in the backward pass, up to the last thing in it that autograd needs. A convolution or
    linear map at its end is therefore not computed twice: only what led to its input is. Results and gradients are the
    same to the bit.

    Args:
        function: draws no random numbers.
        args: tensors, which stay in memory until the backward pass, and anything else.
    """
    if not torch.is_grad_enabled():
        return function(*args)
    return checkpoint(function, *args, use_reentrant=False, preserve_rng_state=False)
