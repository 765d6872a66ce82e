"""Stage 1a: windows of patches that look alike become one token each.

Shapes: B images, N patches, W whole windows of m = w * w patches, r merged windows, V = N - r (m - 1) tokens, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from effowt_d2.modeling.tokens.merge import window_similarity
from effowt_d2.modeling.tokens.windows import whole_windows

__all__ = ["Merged", "merge_windows"]


class Merged(NamedTuple):
    """Attributes:
    tokens: (B, V, C), the merged ones first, by falling score, then the others in raster order.
    scores: (B, W) mean cosine of each window, windows in raster order.
    windows: (B, r) the merged windows, by falling score.
    others: (B, N - r * m) raster indices of the patches left alone.
    sizes: (V,) patches in each token.
    """

    tokens: Tensor
    scores: Tensor
    windows: Tensor
    others: Tensor
    sizes: Tensor


def merge_windows(x: Tensor, grid: tuple[int, int], *, window: int = 3, threshold: float = 0.8) -> Merged:
    """Merge the windows of patches whose mean pairwise cosine reaches the threshold.

    Every image merges as many windows as the one with the fewest, so that all keep one length. Windows that the border
    cuts off are left alone.

    Args:
        x: (B, N, C) patches in raster order, without class token.
        grid: rows and columns of the patches.
        window: side w of a window.
        threshold: a score that equals it is merged.
    """
    cells = torch.as_tensor(whole_windows(grid, window, 0)[0], device=x.device)
    batch, size = len(x), window * window
    scores = window_similarity(x[:, cells])
    count = int((scores >= threshold).sum(1).min()) if len(cells) else 0
    windows = scores.argsort(dim=1, descending=True, stable=True)[:, :count]
    inside = cells[windows].flatten(1)
    alone = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device).scatter_(1, inside, False)
    others = alone.nonzero()[:, 1].view(batch, -1)
    channels = (-1, -1, x.shape[2])
    means = x.gather(1, inside[..., None].expand(channels)).view(batch, count, size, x.shape[2]).mean(2)
    tokens = torch.cat([means, x.gather(1, others[..., None].expand(channels))], 1)
    sizes = torch.ones(tokens.shape[1], dtype=torch.long, device=x.device)
    sizes[:count] = size
    return Merged(tokens, scores, windows, others, sizes)
