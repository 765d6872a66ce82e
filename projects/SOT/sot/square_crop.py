"""Square crops around a target whose pixels OpenCV resamples, as those of AQATrack and EVPTrack.

side = ceil(factor * sqrt(w * h))          the corner lies on a whole pixel, so the crop's middle is up to half a pixel
+---------------+                          off the box's
|    +-----+    |
|    | box |    |  ------ resized to S x S ------>
|    +-----+    |
+---------------+
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from effowt_d2.utils.checks import check_count, check_number

from .crops import Crop

__all__ = ["CROPS", "SquareCrop"]

CROPS = ("context", "square", "square_released")
"""How crops are cut: :class:`sot.crops.ContextCrop`, or :class:`SquareCrop` with one map or the release's."""

# below it, a side is not rounded up: boxes are corners here, whose difference is not exact
_SLACK = 1e-6


class _Region(NamedTuple):
    """Whole pixels of the image: the upper left corner, and the side."""

    x: int
    y: int
    side: int


class SquareCrop:
    """Square crops of the side ``ceil(factor * sqrt(w * h))``; what lies outside the image is black.

    One map, that of the pixels, takes boxes into the crop and back. The release (``released``) has three: pixels are cut at
    whole positions, results go back around the box's own middle, and the labels of training lie half a pixel of the crop
    beside it. A crop that reaches the last column or row shows black there.

    Args:
        size: side S of the crop in pixels.
        factor: side of the region over that of a square box.
        released: cut and map as the release does, for its weights.

    Raises:
        ValueError: a size below 1 or a factor below 1.
    """

    def __init__(self, *, size: int, factor: float = 2.0, released: bool = False):
        self.size = check_count("size", size)
        self.factor = check_number("factor", factor, 1.0)
        self.released = released

    def padding(self, image: Tensor) -> Tensor:
        """(3,) colour of what lies outside the image: black."""
        return torch.zeros(3, device=image.device)

    def region(self, box: Tensor) -> _Region:
        """What a crop around a box (4,) shows; a box without an area gives a side of 0."""
        x0, y0, x1, y1 = box.tolist()
        area = max(x1 - x0, 0.0) * max(y1 - y0, 0.0)
        side = math.ceil(self.factor * math.sqrt(area) - _SLACK)
        return _Region(round((x0 + x1) / 2 - side / 2), round((y0 + y1) / 2 - side / 2), side)

    def maps(self, boxes: Tensor) -> Tensor:
        """The maps (..., 2, 2), float64, that results of crops around boxes (..., 4) go back through."""
        return self._maps(boxes, self.size / 2)

    def label_maps(self, boxes: Tensor) -> Tensor:
        """The maps that true boxes are put into such crops with."""
        return self._maps(boxes, (self.size - 1) / 2)

    def _maps(self, boxes: Tensor, middle: float) -> Tensor:
        flat = boxes.detach().to("cpu", torch.float64).reshape(-1, 4)
        regions = torch.tensor([self.region(box) for box in flat], dtype=torch.float64).reshape(-1, 3)
        scale = (self.size / regions[:, 2:]).expand(-1, 2)
        around = (flat[:, :2] + flat[:, 2:]) / 2
        shift = middle - scale * around if self.released else -scale * regions[:, :2]
        return torch.stack([scale, shift], dim=-2).reshape(*boxes.shape[:-1], 2, 2)

    def shows(self, image: Tensor, box: Tensor) -> bool:
        """Whether a crop around the box has pixels of the image (3, H, W)."""
        (left, right), (top, bottom) = self._overlaps(image, self.region(box))
        return left < right and top < bottom

    def _overlaps(self, image: Tensor, region: _Region) -> list[tuple[int, int]]:
        """First and end column, first and end row of the image that the region shows."""
        found = []
        for first, count in ((region.x, image.shape[-1]), (region.y, image.shape[-2])):
            last = first + region.side
            # the release pads a pixel too many there
            end = count - 1 if self.released and last >= count else count
            found.append((max(first, 0), min(last, end)))
        return found

    def __call__(self, image: Tensor, box: Tensor, padding: Tensor | None = None) -> Crop:
        """
        Args:
            image: (3, H, W) in 0..255; uint8 is resampled as bytes, anything else as float32.
            box: (4,) x0, y0, x1, y1 in pixels of the image, with an area.
            padding: the colour of what lies outside; always black.

        Returns:
            The pixels, and the map of :meth:`maps`.
        """
        region = self.region(box)
        (left, right), (top, bottom) = self._overlaps(image, region)
        part = image[:, top : max(bottom, top), left : max(right, left)].permute(1, 2, 0).cpu().numpy()
        part = part if part.dtype == np.uint8 else part.astype(np.float32)
        whole = np.zeros((region.side, region.side, 3), dtype=part.dtype)
        if part.size:
            whole[top - region.y : bottom - region.y, left - region.x : right - region.x] = part
        pixels = cv2.resize(whole, (self.size, self.size))
        return Crop(torch.from_numpy(pixels).permute(2, 0, 1).float().to(image.device), self.maps(box))
