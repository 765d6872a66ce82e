"""Statistics of the routers of a tower, for the log."""

import torch
from detectron2.utils.events import get_event_storage

from effowt_d2.modeling.tower.tower import Tower

from .tmoe import TMoE

__all__ = ["gate_statistics", "log_gates"]

PERIOD = 20
"""Iterations between two entries, as Detectron2 writes them."""


def gate_statistics(tower: Tower) -> dict[str, float]:
    """Of the last batch in training, over all layers with several experts; empty where there is none.

    Returns:
        ``peft/gate_entropy``: mean entropy of the gates in nats, ln N where all experts count alike, 0 where a token
        has one; ``peft/largest_fraction``: the largest mean gate of an expert, 1 where a router has collapsed.
    """
    layers = [m for m in tower.adapters.modules() if isinstance(m, TMoE) and m.num_experts > 1]
    if not layers:
        return {}
    entropy = torch.stack([layer.gate_entropy for layer in layers]).mean()
    share = torch.stack([layer.gate_fractions.max() for layer in layers]).max()
    return {"peft/gate_entropy": float(entropy), "peft/largest_fraction": float(share)}


def log_gates(tower: Tower) -> None:
    """Put :func:`gate_statistics` into Detectron2's event storage, where there is one and an entry is due."""
    try:
        storage = get_event_storage()
    except AssertionError:  # outside of a training loop
        return
    if storage.iter % PERIOD == 0:
        storage.put_scalars(**gate_statistics(tower))
