"""The type of the entries of result files, and lists of them as numpy columns."""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

__all__ = [
    "NO_VIDEO",
    "ResultEntry",
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


def column(entries: Sequence[Struct], field: str, dtype: type = np.int64) -> np.ndarray:
    """(n,) array of a numeric field of n entries."""
    return np.fromiter(map(attrgetter(field), entries), dtype, len(entries))


def box_column(entries: Sequence[Struct]) -> np.ndarray:
    """(n, 4) float64 array of the boxes of n entries: x, y, width, height in pixels."""
    numbers = chain.from_iterable(map(attrgetter("bbox"), entries))
    return np.fromiter(numbers, np.float64, 4 * len(entries)).reshape(-1, 4)
