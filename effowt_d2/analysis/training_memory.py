"""Training memory as a sum of bytes, independent of the machine."""

from collections.abc import Mapping

from detectron2.config import CfgNode
from torch import nn

__all__ = ["training_memory"]

_HEADS = ("RPN", "cascade heads", "ReID", "other")
# tensors of a parameter's size that the optimizer keeps
_STATES = {"adamw": 2, "sgd": 1}


def training_memory(cfg: CfgNode, model: nn.Module, saved: Mapping[str, int]) -> dict[str, int]:
    """Weights, gradients, optimizer state, and what autograd saves in the forward pass of a training step.

    Args:
        cfg: the config of the training; its optimizer counts.
        model: built from it; it has run once, as its tower may round its weights then.
        saved: bytes by part, of :func:`effowt_d2.analysis.count_saved_bytes`.

    Returns:
        Bytes of ``weights``, ``gradients``, ``optimizer``, ``saved by backbone``, ``saved by heads``.
    """
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return {
        "weights": sum(p.numel() * p.element_size() for p in model.parameters()),
        "gradients": trained,
        "optimizer": _STATES[cfg.SOLVER.OPTIMIZER] * trained,
        "saved by backbone": sum(v for k, v in saved.items() if not k.startswith(_HEADS)),
        "saved by heads": sum(v for k, v in saved.items() if k.startswith(_HEADS)),
    }
