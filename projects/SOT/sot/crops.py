"""Crops around a target: which part of the image, and its pixels.

                    image                              crop of S x S pixels
        +---------------------------+
        |     +---------+ context   |  map          +-------------+
        |     | +-----+ |           |  ------->     |   +-----+   |
        |     | | box | |           |               |   | box |   |  pixels beyond the image
        |     | +-----+ |           |               |   +-----+   |  get the padding colour
        |     +---------+           |               +-------------+
        +---------------------------+

The pixels are resampled between two rectangles with whole corners, which changes the map a little; labels and results
use the map that was in fact applied.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count, check_number

from .maps import clip_boxes, map_between, map_boxes, rasterise, unmap_boxes

__all__ = ["ContextCrop", "Crop", "channel_means", "check_frame", "take_crop"]


class Crop(NamedTuple):
    """Pixels (3, S, S) float32 in 0..255, and the map (2, 2) that takes the image to them."""

    pixels: Tensor
    map: Tensor


class ContextCrop:
    """Square crops with a context that grows with both sides of the box, as in LoRAT (arXiv 2403.05231).

    With w and h the sides of the box and f the factor, the cropped region has the area of a rectangle of the sides
    ``w + (f - 1)(w + h) / 2`` and ``h + (f - 1)(w + h) / 2``; a square box of side a gives a region of side f * a.

    Args:
        size: side S of the crop in pixels.
        factor: f, the region's side over that of a square target.
        min_side: shorter sides of a box are raised to this many pixels of the image, about its centre.

    Raises:
        ValueError: a size below 1, a factor below 1 or a negative side.
    """

    def __init__(self, *, size: int, factor: float = 2.0, min_side: float = 0.0):
        self.size = check_count("size", size)
        self.factor = check_number("factor", factor, 1.0)
        self.min_side = check_number("min_side", min_side)

    def maps(self, boxes: Tensor) -> Tensor:
        """The maps (..., 2, 2) of boxes (..., 4) in pixels of the image, without a look at the image."""
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=self.min_side)
        context = sides + (self.factor - 1) * sides.sum(dim=-1, keepdim=True) / 2
        scale = (self.size / context.prod(dim=-1, keepdim=True).sqrt()).expand_as(centre)
        return torch.stack([scale, self.size / 2 - scale * centre], dim=-2)

    def padding(self, image: Tensor) -> Tensor:
        """(3,) colour of what lies outside the image: its mean."""
        return channel_means(image)

    def __call__(self, image: Tensor, box: Tensor, padding: Tensor) -> Crop:
        """See :func:`take_crop`; ``box`` is (4,) in pixels of the image."""
        return take_crop(image, self.maps(box), self.size, padding)


def take_crop(image: Tensor, requested: Tensor, size: int, padding: Tensor) -> Crop:
    """Resample a part of an image.

    Args:
        image: (3, H, W) in 0..255, of any dtype.
        requested: (2, 2) the map from the image to the crop.
        size: side S of the crop in pixels.
        padding: (3,) colour of what lies outside the image.

    Returns:
        The pixels, and the applied map in float32: between the rectangle of whole crop pixels that show the image and
        that of whole image pixels which are shown there. A crop that misses the image is all padding and keeps the
        requested map.
    """
    height, width = image.shape[-2:]
    # positions in float64 on the CPU: whole pixels are cut at them
    requested = requested.detach().to("cpu", torch.float64)
    frame = torch.tensor([0, 0, width, height], dtype=torch.float64)
    target = rasterise(clip_boxes(map_boxes(requested, frame), (size, size)))
    source = clip_boxes(rasterise(unmap_boxes(requested, target)), (height, width))
    pixels = padding.to(image.device, torch.float32).view(3, 1, 1).repeat(1, size, size)
    if (target[2:] <= target[:2]).any() or (source[2:] <= source[:2]).any():
        return Crop(pixels, requested.float())
    (x0, y0, x1, y1), (u0, v0, u1, v1) = source.int().tolist(), target.int().tolist()
    part = image[None, :, y0:y1, x0:x1].float()
    # unlike the default of image libraries, a smaller result is not smoothed
    pixels[:, v0:v1, u0:u1] = F.interpolate(part, (v1 - v0, u1 - u0), mode="bilinear", align_corners=False)[0]
    return Crop(pixels, map_between(source.float(), target.float()))


def channel_means(image: Tensor) -> Tensor:
    """(3,) float32 means of an image (3, H, W), the padding colour of its crops."""
    return image.float().mean(dim=(-2, -1))


def check_frame(image: Tensor) -> Tensor:
    """Return the image if it is (3, H, W) with pixels, or raise ValueError."""
    shape = tuple(image.shape)
    if image.ndim != 3 or shape[0] != 3 or not math.prod(shape):
        raise bad_argument("frame", f"must be a (3, H, W) tensor with at least one pixel, got the shape {shape}")
    return image
