"""The types of the entries of result and ground-truth files, and lists of entries as numpy columns."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

__all__ = [
    "NO_VIDEO",
    "AnnotationEntry",
    "ImageEntry",
    "ResultEntry",
    "ScoredVideoEntry",
    "VideoEntry",
    "box_column",
    "column",
]

NO_VIDEO = -(2**63)  # stands for a missing video_id

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Box = Annotated[tuple[float, float, float, float], Meta(description="a box is [x, y, width, height] in pixels")]


# the garbage collector need not look at objects that hold numbers only
class ResultEntry(Struct, gc=False):
    """A tracked box."""

    image_id: Id
    bbox: Box
    score: float
    track_id: Id
    category_id: Id  # not used, but TrackEval cannot read a file without it
    video_id: Id = NO_VIDEO


class AnnotationEntry(Struct, gc=False):
    """An annotated box."""

    image_id: Id
    video_id: Id
    track_id: Id
    category_id: Id
    bbox: Box


class ImageEntry(Struct, gc=False):
    """A frame of a video."""

    id: Id
    video_id: Id
    frame_index: Id


class VideoEntry(Struct):
    """A video; enough for a split without annotations."""

    id: Id
    name: str


class ScoredVideoEntry(VideoEntry):
    """A video to score."""

    not_exhaustive_category_ids: list[Id]
    neg_category_ids: list[Id]


def column(entries: Sequence[Struct], field: str, dtype: type = np.int64) -> np.ndarray:
    """(n,) array of a numeric field of n entries."""
    return np.fromiter(map(attrgetter(field), entries), dtype, len(entries))


def box_column(entries: Sequence[Struct]) -> np.ndarray:
    """(n, 4) float64 array of the boxes of n entries: x, y, width, height in pixels."""
    numbers = chain.from_iterable(map(attrgetter("bbox"), entries))
    return np.fromiter(numbers, np.float64, 4 * len(entries)).reshape(-1, 4)
