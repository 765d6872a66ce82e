"""The base of trackers that carry something from frame to frame through the network, and read a box off a centre head.

Shapes: B targets, T frames of a clip, C channels, a search grid of H x W.

    memory ─┐
            ├─ read ─▶ map ─▶ head ─▶ scores, sizes, offsets
    frame ──┘    └──▶ memory of the next frame, with its gradient

Training reads the frames of a clip one after another as tracking does.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from effowt_d2.utils.checks import check_number

from .centre_head import CentreHead, CentreMaps
from .centre_loss import CentreLoss
from .head import HeadOutput
from .state import Reference, TrackState
from .tracker import SingleObjectTracker

__all__ = ["CentreTracker", "Held", "keep_in_frame"]


class Held(NamedTuple):
    """What is kept of a video.

    Attributes:
        carried: what the model carries, a named tuple of tensors (B, ...).
        skipped: (B,) int64: frames whose outputs were not finite; the targets stayed where they were, with what was carried.
    """

    carried: Any
    skipped: Tensor


class CentreTracker(SingleObjectTracker):
    """A subclass says what is carried at first (:meth:`begin`), and how a frame is read (:meth:`read`).

    Args:
        head: a map to scores and boxes.
        loss: of its output.
        margin: found boxes have sides of at least so many pixels, and overlap the frame by as much.
        **tracker: see :class:`SingleObjectTracker`.
    """

    def __init__(self, *, head: CentreHead, loss: CentreLoss, margin: float = 10.0, **tracker: Any):
        super().__init__(**tracker)
        self.head = head
        self.loss = loss
        self.margin = check_number("margin", margin)

    def begin(self, reference: Reference) -> Any:
        """What is carried into the first frame, of templates of B targets: a named tuple of tensors (B, ...)."""
        raise NotImplementedError

    def read(self, carried: Any, crops: Tensor) -> tuple[Tensor, Any]:
        """One frame.

        Args:
            carried: of the frame before.
            crops: (B, 3, S, S) normalised search crops.

        Returns:
            What the head looks at (B, C, H, W), and what is carried on; both float32.
        """
        raise NotImplementedError

    def unroll(self, carried: Any, clip: Sequence[Tensor]) -> tuple[CentreMaps, Any]:
        """The frames of a clip, one after another.

        Args:
            carried: of the frame before.
            clip: T search crops (B, 3, S, S), normalised.

        Returns:
            The outputs of T * B crops, the frames of all targets in turn, and what is carried on.
        """
        maps = []
        for crops in clip:
            seen, carried = self.read(carried, crops)
            maps.append(seen)
        # the batch norms of the head look at all frames together
        return self._head(torch.cat(maps)), carried

    def _head(self, maps: Tensor) -> CentreMaps:
        with torch.autocast(maps.device.type, enabled=False):
            return self.head(maps)

    def losses(self, samples: Sequence[dict]) -> dict[str, Tensor]:
        (template,) = self.training_references(samples)
        clip, boxes = zip(*self.training_searches(samples))
        output, _ = self.unroll(self.begin(template), clip)
        return self.loss(output, torch.cat(boxes) / self.search.size)

    def remember(self, reference: Reference) -> Held:
        return Held(self.begin(reference), torch.zeros(len(reference.crops), dtype=torch.int64))

    def look(self, states: Sequence[TrackState], crops: Tensor) -> tuple[HeadOutput, Sequence[Held]]:
        memories = [state.memory for state in states]
        kind = type(memories[0].carried)
        before = kind(*(torch.cat(parts) for parts in zip(*(memory.carried for memory in memories))))
        output, after = self.unroll(before, [crops])
        boxes = output.boxes()
        good = _finite([output.scores, boxes, *after])
        # the frame is not taken in: the box and what is carried stay
        scores = torch.where(_beside(good, output.scores), output.scores, 0)
        boxes = torch.where(_beside(good, boxes), boxes, torch.nan)
        after = kind(*(torch.where(_beside(good, new), new, old) for new, old in zip(after, before)))
        counts = [len(state) for state in states]
        parts = zip(memories, zip(*(part.split(counts) for part in after)), (~good).cpu().split(counts))
        held = [Held(kind(*carried), memory.skipped + missed) for memory, carried, missed in parts]
        return HeadOutput(scores, boxes), held

    def bound(self, boxes: Tensor, size: tuple[int, int]) -> Tensor:
        return keep_in_frame(boxes, size, self.margin)


def _finite(parts: Sequence[Tensor]) -> Tensor:
    """(B,) bool: all numbers of a row are."""
    return torch.stack([part.reshape(len(part), -1).isfinite().all(dim=1) for part in parts]).all(dim=0)


def _beside(rows: Tensor, other: Tensor) -> Tensor:
    """Rows (B,) with as many axes as the other has."""
    return rows.view(-1, *[1] * (other.ndim - 1))


def keep_in_frame(boxes: Tensor, size: tuple[int, int], margin: float = 10.0) -> Tensor:
    """Boxes (..., 4) cut to a frame of (height, width) pixels, with sides of at least ``margin`` (or the frame's)."""
    limit = boxes.new_tensor([size[1], size[0]])
    margins = limit.clamp(max=margin)
    low = boxes[..., :2].clamp(min=0).minimum(limit - margins)
    high = boxes[..., 2:].maximum(margins).minimum(limit)
    return torch.cat([low, high.maximum(low + margins)], dim=-1)
