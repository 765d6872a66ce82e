"""Validity of boxes, one rule for training and scoring, and detection of other box formats."""

import numpy as np

__all__ = ["BOX_RULE", "exceeds_image", "is_sound", "looks_like", "without_pixels"]

BOX_RULE = "a box is [x, y, width, height], finite, with a width and height of at least 0"

# fraction of the boxes that must fit another layout before it is suspected
_NEARLY_ALL = 0.98


def is_sound(boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: which (N, 4) boxes x, y, width, height fulfil ``BOX_RULE``; others are refused everywhere."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)


def without_pixels(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(N,) bool: boxes that show nothing: a side is 0, or the whole box lies outside the image.

    Args:
        boxes: (N, 4) x, y, width, height.
        sizes: (N, 2) width and height of each box's image; 0 where it is not known.
    """
    outside = (boxes[:, :2] >= _limits(sizes)) | (boxes[:, :2] + boxes[:, 2:] <= 0)
    return (boxes[:, 2:] <= 0).any(axis=1) | outside.any(axis=1)


def exceeds_image(boxes: np.ndarray, sizes: np.ndarray, tolerance: float = 1.0) -> np.ndarray:
    """(N,) bool: boxes that exceed their image by more than ``tolerance`` pixels.

    Args:
        boxes: (N, 4) x, y, width, height.
        sizes: (N, 2) width and height of each box's image; 0 where it is not known.
        tolerance: in pixels.
    """
    low, high = boxes[:, :2] < -tolerance, boxes[:, :2] + boxes[:, 2:] > _limits(sizes) + tolerance
    return (low | high).any(axis=1)


def looks_like(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """The format that a set of boxes seems to have instead of pixels x, y, width, height.

    Args:
        boxes: (N, 4) numbers.
        sizes: (N, 2) width and height of each box's image; 0 where it is not known.

    Returns:
        A phrase, or "" where nothing else fits better.
    """
    known = (sizes > 0).all(axis=1)
    boxes, sizes = boxes[known], sizes[known]
    if not len(boxes):
        return ""
    # a box of one pixel is possible, a set of them in large images is not
    if (np.abs(boxes) <= 1.01).all(axis=1).mean() >= _NEARLY_ALL and sizes.max() > 8:
        return "coordinates normalised to 0..1"
    beyond = exceeds_image(boxes, sizes)
    if not beyond.any():
        return ""
    # boxes that also fit as sizes are ambiguous: those that do not must fit as corners
    corners = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1) & (boxes[:, 2:] <= sizes + 1).all(axis=1)
    if corners.mean() >= _NEARLY_ALL and beyond.mean() > 0.1:
        return "corners [x0, y0, x1, y1]"
    if exceeds_image(boxes, sizes[:, ::-1]).mean() < 0.1 * beyond.mean():
        return "boxes of images whose width and height are swapped"
    return ""


def _limits(sizes: np.ndarray) -> np.ndarray:
    return np.where(sizes > 0, sizes, np.inf)
