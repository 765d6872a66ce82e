"""Conversion of box formats."""

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["xywh_to_xyxy", "xyxy_to_xywh"]

Boxes = TypeVar("Boxes", "np.ndarray", "torch.Tensor")


def xyxy_to_xywh(boxes: Boxes) -> Boxes:
    """Corners to corner and size.

    Args:
        boxes: (..., 4) array or tensor, x0, y0, x1, y1; stays as it is.

    Returns:
        The same shape and dtype, x0, y0, width, height.
    """
    converted = _copy(boxes)
    converted[..., 2:] -= boxes[..., :2]
    return converted


def xywh_to_xyxy(boxes: Boxes) -> Boxes:
    """Corner and size to corners; the reverse of :func:`xyxy_to_xywh`."""
    converted = _copy(boxes)
    converted[..., 2:] += boxes[..., :2]
    return converted


def _copy(boxes: Any) -> Any:
    return boxes.clone() if hasattr(boxes, "clone") else boxes.copy()  # neither library is imported for it
