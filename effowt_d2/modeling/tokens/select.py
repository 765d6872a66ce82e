"""Which tokens stay: those that one query row of a block's attention looks at most (Sparse-Tuning, arXiv 2405.14700).

Shapes: see :mod:`.step`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .fuse import fusion_weights
from .step import Step, keep_in_groups, make_step

__all__ = ["quota", "ranks", "row_scores", "select"]


def row_scores(q: Tensor, k: Tensor, valid: Tensor | None, prefix: int = 0) -> Tensor:
    """How much one query attends to each patch token, in the mean of the heads.

    Args:
        q: (B, heads, 1, head size), scaled by 1 / sqrt(head size) here.
        k: (B, heads, prefix + L, head size).
        valid: (B, L) bool, tokens to attend to; None for all.
        prefix: number of class tokens, which are attended to and left out of the result.

    Returns:
        (B, L) float32; with the class tokens' they sum to 1. Tokens that are not valid get 0.
    """
    logits = (q.float() @ k.float().transpose(-1, -2))[:, :, 0] * q.shape[-1] ** -0.5
    if valid is not None:
        logits = logits.masked_fill(~F.pad(valid, (prefix, 0), value=True)[:, None], -torch.inf)
    return logits.softmax(-1).mean(1)[:, prefix:]


def quota(counts: Tensor, rate: float) -> Tensor:
    """ceil(rate * counts), where a product that only rounding lifts above an integer counts as that integer."""
    return (counts.double() * rate - 1e-9).ceil().long()


def select(scores: Tensor, valid: Tensor | None, members: Tensor, rate: float, *, fuse: bool = True) -> Step | None:
    """Keep the best tokens of every group, and make one token of the others.

    Each group keeps ``ceil(rate * n)`` of its n valid tokens. Of equal scores the first token counts as the better one.
    What is kept of an image depends on its own valid tokens only.

    Args:
        scores: (B, L) of the tokens, positive, as :func:`row_scores` gives them.
        valid: (B, L) bool, or None if all are.
        members: (G, M) tokens of each group on the CPU, in order of position, -1 beyond a group's size.
        rate: in (0, 1].
        fuse: the others become one token, their mean weighted by score. Otherwise they are gone.

    Returns:
        The step, or None if all tokens stay.
    """
    device = scores.device
    inside = (members >= 0).to(device)
    index = members.clamp(min=0).to(device)
    here = inside.expand(len(scores), -1, -1) if valid is None else inside & valid[:, index]
    # known without a look at the device where nothing is padding
    counts = (members >= 0).sum(1)[None] if valid is None else here.sum(-1)
    keep = quota(counts, rate)
    sizes, fewest = torch.stack([keep.amax(0), keep.amin(0)]).tolist()
    short, all_short = torch.stack([(keep < counts).any(0), (keep < counts).all(0)]).tolist()
    if not any(short):
        return None
    counts, keep = counts.to(device), keep.to(device)
    stays = here & (ranks(scores[:, index].masked_fill(~here, -torch.inf)) < keep[..., None])
    drops = here & ~stays
    fused = [g for g, drops_any in enumerate(short) if fuse and drops_any]
    return make_step(
        members.to(device),
        stays,
        keep_in_groups(stays, index, sizes),
        pooled=index[fused].expand(len(scores), -1, -1),
        weights=fusion_weights(scores[:, index], drops)[:, fused],
        pooled_valid=(keep < counts)[:, fused].expand(len(scores), -1),
        pooled_sizes=[int(fuse and drops_any) for drops_any in short],
        joins=torch.where(drops, 0 if fuse else -1, -1),
        length=scores.shape[1],
        all_valid=sizes == fewest and (not fuse or short == all_short),
    )


def ranks(scores: Tensor) -> Tensor:
    """Rank of each score in the last dimension, 0 for the highest; equal ones in their order."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    return torch.empty_like(order).scatter(
        -1, order, torch.arange(order.shape[-1], device=order.device).expand_as(order)
    )
