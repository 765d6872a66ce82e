"""Which views of a track are its best: large, sure, and spread over its time."""

from typing import Protocol, TypeVar

__all__ = ["MOST_VIEWS", "Ranked", "replaceable_views", "insert"]

MOST_VIEWS = 4
# views closer in time than this share of the track's life are one moment
_SPREAD = 1 / 6


class Ranked(Protocol):
    """What views are chosen by: the time of their frame, and their worth."""

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
    if len(views) > MOST_VIEWS:
        _drop_one(views)
    return [gone for gone in before if gone not in views]


def _drop_one(views: list[Kind]) -> None:
    """Of the two views closest in time, the lesser goes."""
    closest = min(range(len(views) - 1), key=lambda place: views[place + 1].time - views[place].time)
    del views[closest + (views[closest + 1].worth < views[closest].worth)]
