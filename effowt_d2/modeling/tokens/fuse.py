"""Weights of a fused token, which represents the dropped tokens of a group."""

import torch
from torch import Tensor

__all__ = ["fusion_weights"]


def fusion_weights(scores: Tensor, drops: Tensor) -> Tensor:
    """Scores of what is dropped, scaled to sum 1.

    The release does not scale them. The scores of many dropped tokens then sum to a few percent, and the fused token
    is a small fraction of a token.

    Args:
        scores: (B, G, M), not negative.
        drops: (B, G, M) bool.

    Returns:
        (B, G, M); 0 everywhere in a group that drops nothing.
    """
    # scores that are all 0 weigh alike
    weights = (scores + torch.finfo(scores.dtype).tiny) * drops
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
