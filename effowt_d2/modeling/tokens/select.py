"""Token selection by the attention of one query (Sparse-Tuning, arXiv 2405.14700).

Shapes: see :mod:`.step`.
"""

import numpy as np
import torch
from torch import Tensor

from .fuse import fusion_weights
from .step import Step, keep_in_groups, make_step

__all__ = ["members_here", "quota", "ranks", "select"]


def quota(counts: np.ndarray, rate: float) -> np.ndarray:
    """ceil(rate * counts), where a product that only rounding lifts above an integer counts as that integer."""
    return np.ceil(counts * rate - 1e-9).astype(int)


def select(scores: Tensor, valid: Tensor | None, members: np.ndarray, rate: float, *, fuse: bool = True) -> Step | None:
    """Keep the best tokens of every group, and make one token of the others.

    Each group keeps ``ceil(rate * n)`` of its n valid tokens. Of equal scores the first token counts as the better one.
    What is kept of an image depends on its own valid tokens only.

    Args:
        scores: (B, L) of the tokens, not negative, see :func:`effowt_d2.modeling.tower.hooks.attention_row`.
        valid: (B, L) bool, or None if all are.
        members: (G, M) tokens of each group, in order of position, -1 beyond a group's size.
        rate: in (0, 1].
        fuse: the others become one token, their mean weighted by score. Otherwise they are gone.

    Returns:
        The step, or None if all tokens stay.
    """
    device = scores.device
    table = torch.as_tensor(members, device=device)
    index = table.clamp(min=0)
    here, counts = members_here(members, valid, batch=len(scores), device=device)
    keep = quota(counts, rate)
    short = keep < counts
    if not short.any():
        return None
    fewer = fuse & short.any(0)
    fused = fewer.nonzero()[0].tolist()
    limit = torch.as_tensor(keep, device=device)[..., None]
    stays = here & (ranks(scores[:, index].masked_fill(~here, -torch.inf)) < limit)
    drops = here & ~stays
    return make_step(
        table,
        stays,
        keep_in_groups(stays, table, keep.max(0).tolist()),
        pooled=index[fused].expand(len(scores), -1, -1),
        weights=fusion_weights(scores[:, index], drops)[:, fused],
        pooled_valid=torch.as_tensor(short[:, fused], device=device).expand(len(scores), -1),
        pooled_sizes=fewer.astype(int).tolist(),
        joins=torch.where(drops, 0 if fuse else -1, -1),
        length=scores.shape[1],
        all_valid=bool((keep == keep[0]).all() and (short == short[0]).all()),
    )


def members_here(
    members: np.ndarray, valid: Tensor | None, *, batch: int, device: torch.device
) -> tuple[Tensor, np.ndarray]:
    """Mask of the valid members (B, G, M), and their number in each group (B or 1, G).

    The device is asked for the numbers only where there is padding.
    """
    inside = members >= 0
    here = torch.as_tensor(inside, device=device).expand(batch, -1, -1)
    if valid is None:
        return here, inside.sum(1)[None]
    here = here & valid[:, torch.as_tensor(members.clip(min=0), device=device)]
    return here, here.sum(-1).cpu().numpy()


def ranks(scores: Tensor) -> Tensor:
    """Rank of each score in the last dimension, 0 for the highest; equal ones in their order."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return torch.empty_like(order).scatter(
        -1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order)
    )
