"""What every source of frames has in common: which frames are taken, and when they were."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["DEFAULT_FPS", "Frame", "FrameReader"]

# frames per second of sources that don't know theirs
DEFAULT_FPS = 30.0

# containers may round times to a millisecond
_TIME_ERROR = 1e-3


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame: its place in the source, the image (H, W, 3) BGR uint8, its name, and its time in seconds."""

    index: int
    image: np.ndarray
    name: str
    time: float


class FrameReader:
    """Iterates once over the chosen frames of a source; a context manager that closes it.

    Attributes:
        name: the source, for messages.
        fps: frames per second of the source, their mean where they vary.
        stride: every how many-th frame is taken.
        length: frames that will be taken, None where the source can't tell (a camera, a generator); an estimate
            where a range of a variable frame rate is read.
        skipped: chosen or passed frames that could not be decoded, so far.

    Raises:
        ValueError: a stride below 1, a frame rate or a time that is not finite, or a time range without frames.
    """

    def __init__(
        self, *, name: str, fps: float, total: int | None, stride: int, start: float, end: float | None
    ) -> None:
        if stride < 1:
            raise ValueError(f"the frame stride must be at least 1, got {stride}")
        if not 0 < fps < math.inf:
            raise ValueError(f"frames per second must be above 0 and finite, got {fps}")
        if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
            raise ValueError(f"the time range needs finite 0 <= start < end, got start {start} s and end {end} s")
        self.name, self.fps, self.stride, self.skipped = name, fps, stride, 0
        error = min(_TIME_ERROR, 0.1 / fps)
        self._start, self._end = start - error, (math.inf if end is None else end) - error
        self._first: int | None = None
        self.length: int | None = None
        if total is not None:
            stop = total if end is None else min(total, math.ceil(self._end * fps))
            self.length = len(range(math.ceil(max(0.0, self._start) * fps), stop, stride))
            if self.length == 0:
                raise ValueError(f"{name}: no frame from {start} s to {end} s, it lasts {total / fps:.2f} s")

    @property
    def rate(self) -> float:
        """Frames per second that are taken, in seconds of the source."""
        return self.fps / self.stride

    def _wanted(self, index: int, time: float) -> bool:
        """Whether this frame is taken; to be asked for every frame before the end of the range, in order."""
        if time < self._start:
            return False
        if self._first is None:
            self._first = index
        return (index - self._first) % self.stride == 0

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
