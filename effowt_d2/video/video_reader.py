"""Frames of a video file or a camera."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from .frame_reader import DEFAULT_FPS, Frame, FrameReader

__all__ = ["VideoReader"]

# a file cut short fails on and on; this many failures in a row end it
_END_AFTER_FAILURES = 300

# AVI and mp4 hold the number of frames; of others OpenCV makes it up from the length and a nominal rate
_COUNTED_AVI = b"RIFF"
_COUNTED_MP4 = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


class VideoReader(FrameReader):
    """A video file, or a camera by its number.

    Times are those of the container, so they are right for variable frame rates too, and count from the first
    frame; a camera's are those at which its frames came, from the start of reading. Frames are turned as the file says
    they are to be shown. It can be iterated once; RuntimeError after that, or once it is closed.

    Args:
        source: the file, or the number.
        **choice: ``stride``, ``start`` and ``end``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        ValueError: not a video, no frames, no such camera, or a bad choice.
    """

    def __init__(self, source: Path | int, **choice: Any) -> None:
        self._live = isinstance(source, int)
        if isinstance(source, int):
            name = self._stem = f"camera {source}"
            self._capture = _open_camera(source)
        else:
            name, self._stem = str(source), source.stem
            self._capture = cv2.VideoCapture(name)
        try:
            if not self._capture.isOpened():
                raise ValueError(f"no {name}" if self._live else f"{name} can't be opened as a video")
            # the first frame is fetched now, so that an empty video is known before a model is built
            if not self._capture.grab():
                raise ValueError(f"{name} gives no frames" if self._live else f"{name} is a video without frames")
            fps, count = self._rate_and_count(source)
            self._declared = count if count > 0 and not self._live else None
            super().__init__(name=name, fps=fps, total=self._declared, **choice)
        except ValueError:
            self._capture.release()
            raise
        self._origin = self._last_clock = self._time = 0.0
        self._used = False

    def _rate_and_count(self, source: Path | int) -> tuple[float, int]:
        """Mean frames per second, and the number of frames, 0 where it isn't known."""
        fps, count = self._capture.get(cv2.CAP_PROP_FPS), int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # when the last frame is shown, where that is known better than the number of frames
        self._final = math.inf
        if not isinstance(source, int) and not _is_counted(source):
            packets, first, last = _measure(source)
            # times are rounded: the nominal rate is better if it fits
            if packets > 1 and last > first and abs((last - first) * fps - (packets - 1)) > 0.5:
                fps = (packets - 1) / (last - first)
            if packets:
                count, self._final = packets, last - 1e-3
        return fps if 0 < fps < 1000 else DEFAULT_FPS, count

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError(f"{self.name} was read or closed before; open it again")
        self._used = True
        return self._read()

    def _read(self) -> Iterator[Frame]:
        # a model may have been built since a camera was opened
        self._origin = self._last_clock = self._clock()
        declared = self._declared or 0
        index, grabbed, failures = 0, True, 0
        while True:
            if not grabbed and self._last_clock >= self._final:
                # some packets hold no picture of their own, so fewer frames than packets are no loss
                return
            failures = 0 if grabbed else failures + 1
            # a failed grab is a corrupt frame or the end; only the number of frames declared can tell which
            if not grabbed and (index >= declared or failures > _END_AFTER_FAILURES):
                break
            self._time = self._time_of(index, grabbed)
            if self._time >= self._end:
                return
            if not grabbed:
                self.skipped += 1
            elif self._wanted(index, self._time):
                decoded, image = self._capture.retrieve()
                if decoded and image is not None:
                    yield Frame(index, image, f"{self._stem}:{index:06d}", self._time)
                else:
                    self.skipped += 1
            index += 1
            grabbed = self._capture.grab()
        missing = range(index, declared)
        self.skipped += sum(self._time + (n - index + 1) / self.fps < self._end for n in missing)

    def _clock(self) -> float:
        if self._live:
            return time.monotonic()
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def _time_of(self, index: int, grabbed: bool) -> float:
        """Seconds of the frame just fetched; guessed by the frame rate where it failed or carries no time."""
        clock = self._clock() if grabbed else self._last_clock
        if clock == self._last_clock and index > 0:
            return self._time + 1 / self.fps
        self._last_clock = clock
        return clock - self._origin

    def close(self) -> None:
        self._used = True
        self._capture.release()


def _is_counted(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(8)
    return head[:4] == _COUNTED_AVI or head[4:] in _COUNTED_MP4


def _measure(path: Path) -> tuple[int, float, float]:
    """Number of packets of a video, and the first and last of their times in seconds; nothing is decoded."""
    packets = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    count, first, last = 0, math.inf, -math.inf
    while packets.grab():
        moment = packets.get(cv2.CAP_PROP_POS_MSEC) / 1000
        # packets come in the order of decoding
        count, first, last = count + 1, min(first, moment), max(last, moment)
    packets.release()
    return count, first, last


def _open_camera(number: int) -> cv2.VideoCapture:
    level = cv2.utils.logging.getLogLevel()
    # the ways of reaching a camera that don't work here are no news; whether one did is asked afterwards
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(number)
    finally:
        cv2.utils.logging.setLogLevel(level)
