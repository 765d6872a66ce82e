"""Base of all frame sources: selection and times of frames."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .sound import Sound

__all__ = ["DEFAULT_FPS", "Frame", "FrameReader", "never"]

# frames per second of sources that don't know theirs
DEFAULT_FPS = 30.0

# containers may round times to a millisecond
_TIME_ERROR = 1e-3


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a source.

    Attributes:
        index: its place in the source.
        image: (H, W, 3) BGR uint8.
        name: for messages and results.
        time: in seconds.
        file: the image file it comes from, as a path in the folder that all files of the source are in; None: a video's.
    """

    index: int
    image: np.ndarray
    name: str
    time: float
    file: str | None = None


def never() -> bool:
    """The ``stop`` of a reader that is read to its end."""
    return False


class FrameReader:
    """Iterates once over the chosen frames of a source; a context manager that closes it.

    Attributes:
        name: the source, for messages.
        title: the source without the folders it's in, for results.
        fps: frames per second of the source, their mean where they vary.
        stride: every how many-th frame is taken.
        length: frames that will be taken if none is damaged, None if unknown (a camera, a stream, a
            generator). An estimate where files with several images are among the images.
        skipped: frames of the time range that could not be decoded, so far; those missing at a cut are among them.
        hidden: frames that the file holds but doesn't show, such as the lead-in that an edit list leaves out.
        sound: what was recorded with the frames, where all of a range are taken; None: nothing, or out of step.
        notes: what the user should know about the source; more may come while reading.

    Args:
        name: the source, for messages.
        title: the source without the folders it's in; None: ``name``.
        fps: frames per second.
        times: (N,) seconds of all frames of the source, increasing; None: unknown.
        stride: take every ``stride``-th frame.
        start, end: range in seconds; ``end`` None: to the end.
        stop: asked between frames and while waiting; once it returns True, the frames end.

    Raises:
        ValueError: a stride below 1, a frame rate or a time that is not finite, or a time range without frames.
    """

    def __init__(
        self,
        *,
        name: str,
        title: str | None = None,
        fps: float,
        times: np.ndarray | None,
        stride: int = 1,
        start: float = 0.0,
        end: float | None = None,
        stop: Callable[[], bool] = never,
    ) -> None:
        if stride < 1:
            raise ValueError(f"the frame stride must be at least 1, got {stride}")
        if not 0 < fps < math.inf:
            raise ValueError(f"frames per second must be above 0 and finite, got {fps}")
        if not 0 <= start < math.inf or (end is not None and not start < end < math.inf):
            raise ValueError(f"the time range needs finite 0 <= start < end, got start {start} s and end {end} s")
        self.name, self.title = name, name if title is None else title
        self.fps, self.stride, self.skipped, self.hidden = float(fps), stride, 0, 0
        self._sizes: dict[tuple[int, int], int] = {}
        self.notes: list[str] = []
        self.sound: Sound | None = None
        error = min(_TIME_ERROR, 0.1 / fps)
        self._start, self._end = start - error, (math.inf if end is None else end) - error
        self._first: int | None = None
        self._stop = stop
        self.length: int | None = None
        if times is not None:
            self.length = math.ceil(np.count_nonzero((times >= self._start) & (times < self._end)) / stride)
            if self.length == 0:
                lasts = times[-1] + 1 / fps if len(times) else 0.0
                raise ValueError(f"{name}: no frame from {start} s to {end} s, it lasts {lasts:.2f} s")

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of the frames given so far, each size once, in order of appearance."""
        return list(self._sizes)

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

    def _frame(self, index: int, image: np.ndarray, name: str, time: float, file: str | None = None) -> Frame:
        """A frame that is given out; a new size is noted."""
        size = (image.shape[1], image.shape[0])
        if size not in self._sizes:
            self._sizes[size] = index
            if len(self._sizes) == 2:
                sizes = " and ".join(
                    f"{width}x{height} from frame {first}" for (width, height), first in self._sizes.items()
                )
                self.notes.append(f"frames of several sizes ({sizes}); boxes are in pixels of their own frame")
        return Frame(index, image, name, time, file)

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
