"""The best views of a track: large, high-scoring, and spread over time."""

from dataclasses import dataclass

import numpy as np

from effowt_d2.video.best_views import insert, replaceable_views

from .image_crops import crop_box, encode, shrink

__all__ = ["View", "add_view"]

_LONGEST = 112  # pixels
_QUALITY = 78


@dataclass(eq=False)
class View:
    """A crop of a track.

    Attributes:
        time: seconds of its frame.
        worth: score times area in pixels.
        jpeg: base64.
        size: width and height in pixels.
    """

    time: float
    worth: float
    jpeg: str
    size: tuple[int, int]

    def summary(self) -> dict:
        """The view for the page."""
        return dict(time=round(self.time, 3), width=self.size[0], height=self.size[1], jpeg=self.jpeg)


def add_view(views: list[View], image: np.ndarray, box: np.ndarray, score: float, time: float, birth: float) -> int:
    """Keep a view if it's better than those near in time; at most four are kept.

    Args:
        views: the track's views in order of time, changed in place.
        image: (H, W, 3) BGR uint8.
        box: (4,) x1, y1, x2, y2 in pixels.
        score: of the box.
        time: seconds of the frame, not before any of the views.
        birth: second the track began at.

    Returns:
        Bytes the views grew by; negative if they shrank.
    """
    crop = crop_box(image, box)
    worth = score * crop.shape[0] * crop.shape[1]
    near = replaceable_views(views, worth, time, birth)
    # most frames end here, before anything is encoded
    if not crop.size or near is None:
        return 0
    before = sum(len(view.jpeg) for view in views)
    small = shrink(crop, _LONGEST)
    insert(views, View(time, worth, encode(small, _QUALITY), (small.shape[1], small.shape[0])), near)
    return sum(len(view.jpeg) for view in views) - before
