"""Similarity of detections and remembered tracks.

Letters: N detections, M memory entries, E embedding channels. Boxes are (x1, y1, x2, y2) in pixels.
"""

import torch
from torch import Tensor

__all__ = ["APPEARANCES", "appearance", "bi_softmax", "cosine", "pairwise_iou"]

APPEARANCES = ("bisoftmax_cosine", "bisoftmax", "cosine")

# keeps a zero embedding or an empty box from dividing by zero without moving any real value
_EPS = 1e-12


def bi_softmax(products: Tensor) -> Tensor:
    """Mean of the softmax over memory entries and the softmax over detections.

    A pair scores high only if each side prefers the other.

    Args:
        products: (N, M) dot products of detection and memory embeddings.

    Returns:
        (N, M) in [0, 1]; all ones for one detection and one entry, whatever their similarity.
    """
    return (products.softmax(dim=1) + products.softmax(dim=0)) / 2


def cosine(products: Tensor, detections: Tensor, memory: Tensor) -> Tensor:
    """Cosines from dot products that are already known.

    Args:
        products: (N, M) = ``detections @ memory.T``.
        detections: (N, E) embeddings.
        memory: (M, E) embeddings.

    Returns:
        (N, M) in [-1, 1] up to rounding; 0 where an embedding is zero.
    """
    norms = detections.norm(dim=1)[:, None] * memory.norm(dim=1)[None, :]
    return products / norms.clamp(min=_EPS)


def appearance(detections: Tensor, memory: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Appearance similarity of every detection to every memory entry.

    Args:
        detections: (N, E) embeddings, normalised or not.
        memory: (M, E) embeddings.
        kind: ``"bisoftmax_cosine"`` for the mean of bi-softmax and cosine, or either of them alone.

    Returns:
        The similarity and the cosine, both (N, M).
    """
    products = detections @ memory.T
    cosines = cosine(products, detections, memory)
    if kind == "cosine":
        return cosines, cosines
    if kind == "bisoftmax":
        return bi_softmax(products), cosines
    return (bi_softmax(products) + cosines) / 2, cosines


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes.

    Args:
        first: (N, 4) boxes.
        second: (M, 4) boxes.

    Returns:
        (N, M) in [0, 1]; a box without area has IoU 0 with everything.
    """
    # one coordinate at a time and in place: no (N, M, 2) temporaries, which cost more than the arithmetic
    x1, y1, x2, y2 = first.T.contiguous()[:, :, None]
    u1, v1, u2, v2 = second.T.contiguous()[:, None, :]
    width = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    height = torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    intersection = width.mul_(height)
    areas = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1)
    return intersection / areas.sub_(intersection).clamp_(min=_EPS)
