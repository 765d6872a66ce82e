"""Frames of a video that comes over a network or through a pipe."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np

from .address import STANDARD_INPUT, connection_error, open_address, redacted_address
from .frame_converter import FrameConverter
from .frame_reader import DEFAULT_FPS, Frame, FrameReader, never
from .read_ahead import in_background, read_ahead

__all__ = ["StreamReader"]


class StreamReader(FrameReader):
    """An address (http, rtsp, ...) or standard input.

    It is read in a thread. Nothing is read in advance, so lost frames are those that fail to decode; after a jump to
    ``start`` the index of a frame is its time by the frame rate. It can be iterated once.

    Args:
        address: the address, or "-".
        timeout: seconds to wait for an answer or for data.
        fps: frames per second of a raw stream; None: that of the stream, or 30.
        stop: see :class:`FrameReader`.
        **choice: ``stride``, ``start`` and ``end``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        OSError: no answer, or the connection breaks off; while iterating too, what came before has been given then.
        ValueError: not a video, no frames, or a bad choice.
        InterruptedError: ``stop`` returned True while it was opened.
    """

    def __init__(
        self, address: str, *, timeout: float, fps: float | None = None, stop: Callable[[], bool] = never, **choice: Any
    ) -> None:
        name = redacted_address(address)
        self._address, self._timeout = address, timeout
        self._media = in_background(lambda: open_address(address, timeout), stop, f"{name} was opened")
        rate = fps if fps and self._media.raw else float(self._media.rate or DEFAULT_FPS)
        declared_duration = self._media.declared_duration
        times = np.arange(max(1, round(declared_duration * rate))) / rate if declared_duration else None
        super().__init__(
            name=name, title=PurePosixPath(urlsplit(name).path).name or name, fps=rate, times=times, stop=stop, **choice
        )
        self._stem = PurePosixPath(urlsplit(address).path).stem or name
        self._used = False
        self._frames = read_ahead(self._read, stop)
        self._next = next(self._frames, None)
        if self._next is None:
            if stop():
                raise InterruptedError(f"stopped while {name} was opened")
            raise ValueError(f"{name}: none of its frames can be decoded")

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError(f"{self.name} was read or closed before; open it again")
        self._used = True
        return itertools.chain([] if self._next is None else [self._next], self._frames)

    def _read(self) -> Iterator[Frame]:
        try:
            origin, frames = self._from_start()
            convert = FrameConverter(self._media.stream)
            for index, time, frame in self._timed(frames, origin):
                if time >= self._end:
                    return
                if frame is None or self._media.is_damaged(frame):
                    self.skipped += time >= self._start
                elif self._wanted(index, time):
                    yield self._frame(index, convert(frame), f"{self._stem}:{index:06d}", time)
        except av.FFmpegError as error:
            raise connection_error(error, self.name, self._timeout) from error
        finally:
            self._media.close()

    def _timed(
        self, frames: Iterator[av.VideoFrame | None], origin: int | None
    ) -> Iterator[tuple[int, float, av.VideoFrame | None]]:
        """Index, seconds and frame; the time of a lost frame is a guess."""
        jumped, index, time = origin is not None, -1, -1 / self.fps
        for frame in frames:
            time += 1 / self.fps
            if frame is not None and frame.pts is not None and not self._media.numbered:
                origin = frame.pts if origin is None else origin
                time = float((frame.pts - origin) * self._media.time_base)
            index = round(time * self.fps) if jumped and index < 0 else index + 1
            yield index, time, frame

    def _from_start(self) -> tuple[int | None, Iterator[av.VideoFrame | None]]:
        """The frames from the start of the range on or before; after a jump, also the time of the very first frame."""
        media = self._media
        # what was read from a pipe is gone
        stays = self._address == STANDARD_INPUT or media.declared_duration is None or media.numbered
        if self._start <= 0 or stays:
            return None, media.frames()
        origin = media.stream.start_time or 0
        wanted = origin + int(self._start / media.time_base)
        try:
            media.seek(wanted)
            frames = media.frames()
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts <= wanted:
                return origin, itertools.chain([first], frames)
        except av.FFmpegError:
            pass
        # the stream can't jump, or jumps too far
        media.close()
        self._media = open_address(self._address, self._timeout)
        return None, self._media.frames()

    def close(self) -> None:
        self._used = True
        self._frames.close()
