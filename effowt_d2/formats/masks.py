"""Boxes of masks: polygons, and COCO's run-length encodings, compressed or not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

__all__ = ["box_of_mask"]


def box_of_mask(segmentation: Any) -> list[float] | None:
    """The box around a mask.

    Args:
        segmentation: a list of polygons, each a flat list x0, y0, x1, y1, ... of at least three points; or
            ``{"size": [height, width], "counts": text or list}``.

    Returns:
        x, y, width, height in pixels; None for an empty mask.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(segmentation, Mapping):
        return _box_of_runs(segmentation)
    if not isinstance(segmentation, (list, tuple)):
        raise ValueError(f"expected polygons or an RLE object, got {type(segmentation).__name__}")
    points = [_points(polygon) for polygon in segmentation]
    if not points:
        return None
    low, high = np.concatenate(points).min(axis=0), np.concatenate(points).max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def _points(polygon: Any) -> np.ndarray:
    try:
        numbers = np.array(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("a polygon must be a flat list of numbers x0, y0, x1, y1, ...") from None
    if numbers.ndim != 1 or len(numbers) % 2 or len(numbers) < 6 or not np.isfinite(numbers).all():
        raise ValueError(f"a polygon must be 6 or more finite numbers x0, y0, x1, y1, ..., got {len(numbers)} entries")
    return numbers.reshape(-1, 2)


def _box_of_runs(runs: Mapping) -> list[float] | None:
    size, counts = runs.get("size"), runs.get("counts")
    sides = size if isinstance(size, (list, tuple)) and all(type(n) is int and n > 0 for n in size) else ()
    if len(sides) != 2 or not isinstance(counts, (str, bytes, list)):
        raise ValueError(f"an RLE object must have 'size' [height, width] and 'counts', got {sorted(runs)}")
    if isinstance(counts, list):
        if not all(type(n) is int and n >= 0 for n in counts) or sum(counts) != sides[0] * sides[1]:
            raise ValueError(f"the 'counts' of an RLE must add up to its {sides[0]} x {sides[1]} pixels")
        runs = mask_util.frPyObjects(dict(runs), *sides)
    box = mask_util.toBbox(runs).tolist()
    return box if box[2] > 0 and box[3] > 0 else None
