"""The best views of a track: large, sure, and spread over its time."""

from dataclasses import dataclass

import numpy as np

from .pictures import crop_box, encode, shrink

__all__ = ["View", "add_view"]

_MOST = 4
_LONGEST = 112  # pixels
_QUALITY = 78
# views closer in time than this share of the track's life are one moment
_SPREAD = 1 / 6


@dataclass(eq=False)
class View:
    """A picture of a track.

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
    near = [view for view in views if time - view.time <= _SPREAD * (time - birth)]
    # most frames end here, before anything is encoded
    if not crop.size or any(view.worth >= worth for view in near):
        return 0
    before = sum(len(view.jpeg) for view in views)
    small = shrink(crop, _LONGEST)
    jpeg = encode(small, _QUALITY)
    views[:] = [view for view in views if view not in near]
    views.append(View(time, worth, jpeg, (small.shape[1], small.shape[0])))
    if len(views) > _MOST:
        _drop_one(views)
    return sum(len(view.jpeg) for view in views) - before


def _drop_one(views: list[View]) -> None:
    """Of the two views closest in time, the lesser goes."""
    closest = min(range(len(views) - 1), key=lambda place: views[place + 1].time - views[place].time)
    del views[closest + (views[closest + 1].worth < views[closest].worth)]
