"""The tracks of one frame, as everything behind the model takes them."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["FrameTracks"]


@dataclass
class FrameTracks:
    """The tracks of one frame.

    Attributes:
        index: place of the frame in the source, from 0.
        time: seconds from the start of the source.
        name: name of the frame.
        image: (H, W, 3) BGR uint8.
        boxes: (N, 4) float x1, y1, x2, y2 in pixels of the image.
        ids: (N,) int64 track ids, none negative.
        scores: (N,) float.
        names: N texts, what each track most likely is; None where nothing was named.
        name_scores: (N,) float, how sure each name is, 0 to 1; None where nothing was named.
        file: the image file that the frame comes from, see :class:`effowt_d2.video.Frame`; None: a frame of a video.
    """

    index: int
    time: float
    name: str
    image: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray
    scores: np.ndarray
    names: list[str] | None = None
    name_scores: np.ndarray | None = None
    file: str | None = None

    def above(self, score: float) -> "FrameTracks":
        """The same frame with only the tracks scored ``score`` or better."""
        return self.where(self.scores >= score)

    def where(self, keep: np.ndarray) -> "FrameTracks":
        """The same frame with only some of its tracks; ``keep`` is (N,) bool."""
        names = None if self.names is None else [name for name, kept in zip(self.names, keep) if kept]
        name_scores = None if self.name_scores is None else self.name_scores[keep]
        boxes, ids, scores = self.boxes[keep], self.ids[keep], self.scores[keep]
        return replace(self, boxes=boxes, ids=ids, scores=scores, names=names, name_scores=name_scores)
