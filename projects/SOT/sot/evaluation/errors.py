"""Errors of boxes frame by frame. Shapes: N frames, boxes (N, 4) float64 x0, y0, x1, y1."""

from dataclasses import dataclass

import numpy as np

__all__ = ["FrameErrors", "clip_to_image", "frame_errors", "is_valid"]


@dataclass
class FrameErrors:
    """Per frame: overlap (IoU), distance of the centres in pixels, and that distance in units of the true box's sides."""

    overlap: np.ndarray
    distance: np.ndarray
    normalised: np.ndarray


def frame_errors(predicted: np.ndarray, true: np.ndarray) -> FrameErrors:
    """The errors of predicted boxes; NaN where a coordinate is, and 0 overlap with a predicted box without an area."""
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.maximum(predicted[:, :2], true[:, :2]), np.minimum(predicted[:, 2:], true[:, 2:])
        common = np.clip(high - low, 0, None).prod(axis=1)
        union = _area(predicted) + _area(true) - common
        overlap = np.divide(common, union, out=np.zeros_like(common), where=(union > 0) & is_valid(predicted))
        # the halves first: equal boxes have a distance of exactly 0
        offset = _centre(predicted) - _centre(true)
        normalised = np.linalg.norm(offset / (true[:, 2:] - true[:, :2]), axis=1)
        return FrameErrors(overlap, np.linalg.norm(offset, axis=1), normalised)


def is_valid(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes that are finite and have an area."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)


def clip_to_image(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes cut to an image of (height, width) pixels."""
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2, dtype=np.float64))


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _centre(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
