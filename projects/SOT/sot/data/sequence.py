"""A video with one target, whatever dataset it is from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from effowt_d2.formats import DatasetError

__all__ = ["TargetSequence"]


@dataclass(frozen=True, slots=True)
class TargetSequence:
    """The frames of a video and where its target is.

    Args:
        name: unique in its dataset; messages and result files name it.
        files: of the N frames, in order.
        boxes: (N, 4) float64 x0, y0, x1, y1 in pixels, NaN where there is none. A test sequence whose truth is withheld has
            one box.
        present: (N,) bool: the target is visible by the annotation; all without such a flag.
        cover: (N,) int: how much of it can be seen, 0 to 8, if the dataset has it; frames with 0 are not scored.
        size: (height, width) of the frames, where the annotation names it.
        text: a description of the target.
        still: the one frame is a still image.

    Raises:
        DatasetError: no frames, or another number of boxes or flags than of frames; names the sequence.
    """

    name: str
    files: Sequence[str]
    boxes: np.ndarray
    present: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    cover: np.ndarray | None = None
    size: tuple[int, int] | None = None
    text: str = ""
    still: bool = False

    def __post_init__(self):
        frames = len(self.files)
        if not frames:
            raise DatasetError(f"sequence '{self.name}' has no frames")
        if not len(self.present):
            object.__setattr__(self, "present", np.ones(frames, dtype=bool))
        if len(self.boxes) not in (1, frames):
            raise DatasetError(f"sequence '{self.name}' has {frames} frames and {len(self.boxes)} boxes")
        for what, values in (("presence flags", self.present), ("cover labels", self.cover)):
            if values is not None and len(values) != frames:
                raise DatasetError(f"sequence '{self.name}' has {frames} frames and {len(values)} {what}")
        object.__setattr__(self, "boxes", np.asarray(self.boxes, dtype=np.float64).reshape(-1, 4))

    def __len__(self) -> int:
        return len(self.files)

    @property
    def annotated(self) -> bool:
        """Whether the truth of all frames is known, so that results can be scored."""
        return len(self.boxes) == len(self.files)

    @property
    def valid(self) -> np.ndarray:
        """(N,) bool: frames whose box is finite and has an area; the others have no target to find."""
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.boxes).all(axis=1) & (self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1)

    @property
    def visible(self) -> np.ndarray:
        """(N,) bool: valid frames in which the target can be seen."""
        return self.valid & self.present
