"""Maps between an image and a crop of it: a scale and a shift per axis, and boxes under them.

Shapes: a map is (..., 2, 2), the scale in x and y and below it the shift in x and y, so that a point of the image lies
at ``scale * point + shift`` in the crop. Boxes are (..., 4) x0, y0, x1, y1.
"""

import torch
from torch import Tensor

__all__ = ["clip_boxes", "is_valid", "map_between", "map_boxes", "rasterise", "unmap_boxes"]

_SLACK = 1e-4


def map_boxes(maps: Tensor, boxes: Tensor) -> Tensor:
    """Boxes of the image in pixels of the crop, in the dtype of the boxes."""
    scale, shift = _for_corners(maps.to(boxes))
    return boxes * scale + shift


def unmap_boxes(maps: Tensor, boxes: Tensor) -> Tensor:
    """The reverse of :func:`map_boxes`: boxes of the crop in pixels of the image."""
    scale, shift = _for_corners(maps.to(boxes))
    return (boxes - shift) / scale


def _for_corners(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift (..., 4) of both corners."""
    return torch.cat([maps, maps], dim=-1).unbind(dim=-2)


def map_between(source: Tensor, target: Tensor) -> Tensor:
    """The maps (..., 2, 2) that take rectangles (..., 4) to others; a source without area gives infinite scales."""
    scale = (target[..., 2:] - target[..., :2]) / (source[..., 2:] - source[..., :2])
    return torch.stack([scale, target[..., :2] - source[..., :2] * scale], dim=-2)


def rasterise(boxes: Tensor) -> Tensor:
    """The whole pixels that boxes touch: first ones included, last ones excluded, in the dtype of the boxes.

    A box that reaches less than 1e-4 into a further pixel on its right or lower side does not touch it.
    """
    return torch.cat([boxes[..., :2].floor(), (boxes[..., 2:] + (1 - _SLACK)).floor()], dim=-1)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes cut to an image or crop of (height, width) pixels; one outside gets a side of 0."""
    height, width = size
    return torch.stack([boxes[..., i].clamp(0, (width, height)[i % 2]) for i in range(4)], dim=-1)


def is_valid(boxes: Tensor) -> Tensor:
    """(...) bool: boxes that are finite and have a positive width and height."""
    return boxes.isfinite().all(dim=-1) & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
