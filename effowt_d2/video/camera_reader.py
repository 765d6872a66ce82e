"""Frames of a camera of this machine."""

import time
from collections.abc import Iterator
from typing import Any

import cv2

from .frame_reader import DEFAULT_FPS, Frame, FrameReader
from .quiet import quiet_opencv

__all__ = ["CameraReader"]

# a camera that fails this often in a row is gone
_END_AFTER_FAILURES = 300


class CameraReader(FrameReader):
    """A camera by its number. Times are those at which its frames came, from the start of reading.

    It can be iterated once; RuntimeError after that, or once it is closed.

    Args:
        number: of the camera.
        **choice: ``stride``, ``start``, ``end`` and ``stop``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        ValueError: no such camera, or a bad choice.
    """

    def __init__(self, number: int, **choice: Any) -> None:
        # the ways of reaching a camera that don't work here are no news; whether one did is asked afterwards
        with quiet_opencv():
            self._capture = cv2.VideoCapture(number)
        try:
            # the first frame is fetched now, so that a dead camera is known before a model is built
            if not self._capture.isOpened() or not self._capture.grab():
                raise ValueError(f"no camera {number}")
            fps = self._capture.get(cv2.CAP_PROP_FPS)
            fps = fps if 0 < fps < 1000 else DEFAULT_FPS
            super().__init__(name=f"camera {number}", fps=fps, times=None, **choice)
        except ValueError:
            self._capture.release()
            raise
        self._used = False

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError(f"{self.name} was read or closed before; open it again")
        self._used = True
        return self._read()

    def _read(self) -> Iterator[Frame]:
        # a model may have been built since the camera was opened
        origin = time.monotonic()
        index, grabbed, failures = 0, True, 0
        while failures < _END_AFTER_FAILURES and not self._stop():
            moment = time.monotonic() - origin
            if moment >= self._end:
                return
            wanted = grabbed and self._wanted(index, moment)
            image = self._capture.retrieve()[1] if wanted else None
            if image is not None:
                yield self._frame(index, image, f"{self.name}:{index:06d}", moment)
            elif wanted or not grabbed:
                self.skipped += 1
            failures = 0 if grabbed else failures + 1
            index += 1
            grabbed = self._capture.grab()

    def close(self) -> None:
        self._used = True
        self._capture.release()
