"""Cells of a grid over a crop that a box touches: foreground masks of templates, and positive cells of search crops."""

import torch
from torch import Tensor

from .maps import clip_boxes, rasterise

__all__ = ["touched_cells"]


def touched_cells(boxes: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Which cells boxes touch.

    A box is cut to the crop first. One with pixels in the crop touches one cell at least.

    Args:
        boxes: (B, 4) x0, y0, x1, y1 in pixels of the crop, in float64 or float32.
        grid: (rows, columns) of the grid.
        size: (height, width) of the crop in pixels.

    Returns:
        (B, rows, columns) bool.
    """
    rows, columns = grid
    cell = boxes.new_tensor([size[1] / columns, size[0] / rows] * 2)
    first_x, first_y, end_x, end_y = rasterise(clip_boxes(boxes, size) / cell)[:, :, None].unbind(dim=1)
    x = torch.arange(columns, device=boxes.device)
    y = torch.arange(rows, device=boxes.device)
    inside_x = (x >= first_x) & (x < end_x)
    inside_y = (y >= first_y) & (y < end_y)
    return inside_y[:, :, None] & inside_x[:, None, :]
