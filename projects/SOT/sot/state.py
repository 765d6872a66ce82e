"""What a tracker remembers of a video. It belongs to the caller, and a step makes a new one.

Shapes: T targets.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["Reference", "TrackState"]


class Reference(NamedTuple):
    """Crops of the targets in one frame: normalised pixels (T, 3, S, S), and which tokens show the target, (T, h, w)."""

    crops: Tensor
    foreground: Tensor


@dataclass(frozen=True)
class TrackState:
    """The state of a video.

    Attributes:
        boxes: (T, 4) float64 x0, y0, x1, y1 in pixels, where each target was last.
        padding: (3,) means of the first frame's channels, the colour around search crops.
        frame: number of frames so far, less one.
        memory: what the model keeps besides.
    """

    boxes: Tensor
    padding: Tensor
    frame: int
    memory: Any

    def __len__(self) -> int:
        return len(self.boxes)
