"""Position tables: resized to a canvas once, of which an image takes the top left part.

So what a token sees of positions depends neither on the size of its image nor on how far that is padded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["on_canvas", "top_left"]


def on_canvas(positions: Tensor, side: int) -> Tensor:
    """Resize a table (d, g, g) to (d, side, side), bicubic; a side of 0 keeps its size."""
    if not side or positions.shape[-1] == side:
        return positions
    return F.interpolate(positions[None].float(), size=(side, side), mode="bicubic", align_corners=False)[0]


def top_left(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """The top left (h, w) of (..., side, side); outside the canvas, its last row or column is repeated."""
    rows, columns = (
        torch.arange(length, device=positions.device).clamp(max=side - 1)
        for length, side in zip(grid, positions.shape[-2:])
    )
    return positions[..., rows[:, None], columns[None, :]]
