"""The best views of a track: large, high-scoring, and spread over time."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from .image_crops import crop_box, encode, shrink

__all__ = ["View", "add_view", "replaceable_views", "insert"]

_MOST = 4
_LONGEST = 112  # pixels
_QUALITY = 78
# views closer in time than this fraction of the track's duration are one moment
_SPREAD = 1 / 6


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


class Ranked(Protocol):
    """Criteria of the choice of views: the time of their frame, and their worth."""

    time: float
    worth: float


Kind = TypeVar("Kind", bound=Ranked)


def replaceable_views(views: list[Kind], worth: float, time: float, birth: float) -> list[Kind] | None:
    """The views near in time that a new one is better than, which go; None where one of them is as good."""
    near = [view for view in views if time - view.time <= _SPREAD * (time - birth)]
    return None if any(view.worth >= worth for view in near) else near


def insert(views: list[Kind], view: Kind, near: list[Kind]) -> list[Kind]:
    """Put a view in the place of those that it beats; the views that went, for there are four at most."""
    before = list(views)
    views[:] = [kept for kept in views if kept not in near]
    views.append(view)
    if len(views) > _MOST:
        _drop_one(views)
    return [gone for gone in before if gone not in views]


def _drop_one(views: list[Kind]) -> None:
    """Of the two views closest in time, the lesser goes."""
    closest = min(range(len(views) - 1), key=lambda place: views[place + 1].time - views[place].time)
    del views[closest + (views[closest + 1].worth < views[closest].worth)]
