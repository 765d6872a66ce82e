"""Rejects invalid frames before any state changes."""

import operator

import torch
from torch import Tensor

__all__ = ["check_detections", "check_frame_index"]


def check_frame_index(frame_index: int, previous: int | None) -> int:
    """Return ``frame_index`` as an int later than ``previous``, or raise ValueError naming both."""
    try:
        frame_index = operator.index(frame_index)
    except TypeError:
        raise ValueError(f"frame_index must be an integer, got {frame_index!r}") from None
    if previous is not None and frame_index <= previous:
        raise ValueError(f"frame_index must increase, got {frame_index} after {previous}; reset() starts another video")
    return frame_index


def check_detections(boxes: Tensor, scores: Tensor, embeddings: Tensor, channels: int | None) -> None:
    """Raise ValueError unless the three tensors describe the same N sound detections.

    Args:
        boxes: should be (N, 4) finite, x1 <= x2 and y1 <= y2.
        scores: should be (N,) finite.
        embeddings: should be (N, E) finite, E = ``channels`` unless that is None.
        channels: E of what is remembered.
    """
    count = len(boxes)
    if boxes.shape != (count, 4):
        raise ValueError(f"boxes must have shape (N, 4), got {tuple(boxes.shape)}")
    if scores.shape != (count,):
        raise ValueError(f"scores must have shape ({count},), one per box, got {tuple(scores.shape)}")
    if embeddings.dim() != 2 or len(embeddings) != count:
        shape = tuple(embeddings.shape)
        raise ValueError(f"embeddings must have shape ({count}, E), one per box, got {shape}")
    if count and channels is not None and embeddings.shape[1] != channels:
        found = embeddings.shape[1]
        raise ValueError(f"embeddings have {found} channels, the remembered ones have {channels}")
    # one row of flags per kind of fault, so that a sound frame costs a single wait for the device
    faults = torch.stack(
        [
            ~boxes.isfinite().all(dim=1),
            (boxes[:, 2:] < boxes[:, :2]).any(dim=1),
            ~scores.isfinite(),
            ~embeddings.isfinite().all(dim=1),
        ]
    )
    if count == 0 or not faults.any():
        return
    kind, row = faults.nonzero()[0].tolist()
    words, values = (
        ("a box that is not finite", boxes),
        ("an inverted box", boxes),
        ("a score that is not finite", scores),
        ("an embedding that is not finite", embeddings),
    )[kind]
    shown = values[row].flatten()[:4].tolist()
    more = " ..." if values[row].numel() > 4 else ""
    raise ValueError(f"detection {row} of {count} has {words}: {shown}{more}")
