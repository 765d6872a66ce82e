"""Frames of a video file."""

import itertools
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from .frame_converter import FrameConverter
from .frame_reader import DEFAULT_FPS, Frame, FrameReader, never
from .media import Media
from .sound import Sound
from .structure import read_structure
from .timeline import Timeline, measure

__all__ = ["VideoReader"]

# seconds before the wanted frame to start decoding at: some formats seek too far, some key frames need what was before
_SEEK_BEFORE = (0, 10)

_THREADS = 4


class VideoReader(FrameReader):
    """A video file.

    The file is read through first, without decoding: that gives the number and the times of its frames, whatever its
    header says. Times count from the first frame that is shown. Frames come as they are to be shown: upright, with
    square pixels. It can be iterated once; RuntimeError after that, or once it is closed.

    Args:
        path: the file.
        fps: frames per second of a raw stream; None: that of the stream, or 30.
        stop: see :class:`FrameReader`.
        **choice: ``stride``, ``start`` and ``end``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        ValueError: not a video, no frames, or a bad choice.
        InterruptedError: ``stop`` returned True while the file was read through.
    """

    def __init__(
        self, path: Path, *, fps: float | None = None, stop: Callable[[], bool] = never, **choice: Any
    ) -> None:
        self._path = path
        media = self._open()
        try:
            timeline = self._measured(media, fps, stop)
            self._can_seek = not media.numbered and not media.restarts
            rate_given = bool(fps or media.rate)
            codec = None if media.restarts else media.sound_codec
        finally:
            media.close()
        self._timeline, self._times = timeline, timeline.times
        super().__init__(name=str(path), title=path.name, fps=timeline.fps, times=self._times, stop=stop, **choice)
        self.hidden = timeline.hidden
        if codec and self.stride == 1:
            self.sound = Sound(path, float(timeline.ticks[0] * timeline.time_base), codec)
        self._collect_notes(unused=fps if fps and not media.raw else None, unknown_rate=media.raw and not rate_given)
        self._used = False
        # decoded now, so that a video without a decodable frame is known before a model is built
        self._frames = self._read()
        self._next = next(self._frames, None)
        if self._next is None and not stop():
            raise ValueError(f"{path}: none of its frames can be decoded")

    def _open(self, threads: int = 1) -> Media:
        try:
            # the prefix keeps FFmpeg from taking a colon for the end of a protocol
            return Media(f"file:{self._path}", options={}, timeout=None, threads=threads)
        except av.FFmpegError as error:
            reason = "it is cut short" if read_structure(self._path).cut else error.strerror
        except ValueError as error:
            reason = str(error)
        raise ValueError(f"{self._path} can't be opened as a video: {reason}")

    def _measured(self, media: Media, fps: float | None, stop: Callable[[], bool]) -> Timeline:
        timeline = measure(media, read_structure(self._path), fps, stop)
        if not len(timeline.ticks):
            raise ValueError(f"{self._path} is a video without frames")
        if timeline.leading:
            self._timeline, self._stop = timeline, stop
            first = next(self._located(self._open()), None)
            # frames before it need some that were cut off when the file was made
            timeline = timeline.without_first(min(timeline.leading, first[0] if first else 0))
        return timeline

    def _collect_notes(self, unused: float | None, unknown_rate: bool) -> None:
        timeline = self._timeline
        if timeline.missing:
            self.notes.append(f"{self.name} is cut short: {timeline.missing} frames at its end are missing")
        elif timeline.cut:
            self.notes.append(f"{self.name} is cut short: how many frames are missing isn't known")
        if unknown_rate:
            self.notes.append(f"{self.name} has no frame rate: {DEFAULT_FPS:g} frames per second are assumed")
        if unused:
            self.notes.append(f"{self.name} has times of its own: the rate of {unused:g} frames per second is not used")

    def __iter__(self) -> Iterator[Frame]:
        if self._used:
            raise RuntimeError(f"{self.name} was read or closed before; open it again")
        self._used = True
        return itertools.chain([] if self._next is None else [self._next], self._frames)

    def _read(self) -> Generator[Frame, None, None]:
        first, end = np.searchsorted(self._times, (self._start, self._end)).tolist()
        held = min(end, len(self._times) - self._timeline.missing)
        for threads in (1,) if self._timeline.damaged else (_THREADS, 1):
            for index, frame, damaged in self._decoded_from(first, threads):
                if index >= end:
                    break
                if index < first:
                    continue
                # what lies between couldn't be decoded
                self.skipped += index - first + damaged
                first = index + 1
                time = float(self._times[index])
                if self._wanted(index, time) and not damaged:
                    yield self._frame(index, self._picture(frame), f"{self._path.stem}:{index:06d}", time)
            # the last frames may be lost for being decoded beside a damaged one: they are tried one by one
            if self._stop() or first >= held:
                break
        if not self._stop():
            self.skipped += end - first

    def _decoded_from(self, first: int, threads: int) -> Iterator[tuple[int, av.VideoFrame, bool]]:
        """Index, frame and whether it's damaged; from ``first`` or before."""
        for back in _SEEK_BEFORE if first and self._can_seek else ():
            media = self._open(threads)
            try:
                media.seek(int(self._timeline.ticks[first] - back / self._timeline.time_base))
            except av.FFmpegError:
                media.close()
                continue
            located = self._located(media)
            head = next(located, None)
            if head and head[0] <= first:
                yield head
                yield from located
                return
            located.close()
        yield from self._located(self._open(threads))

    def _located(self, media: Media) -> Generator[tuple[int, av.VideoFrame, bool], None, None]:
        """Index, frame and whether it's damaged; the video is closed in the end."""
        self._picture = FrameConverter(media.stream)
        ticks, index = self._timeline.ticks, -1
        try:
            for frame in media.frames():
                if self._stop():
                    return
                if frame is None:
                    continue
                place = index + 1
                if not media.numbered and frame.pts is not None:
                    place = max(place, int(np.searchsorted(ticks, frame.pts)))
                index = place
                if index < len(ticks):
                    yield index, frame, media.is_damaged(frame)
        finally:
            media.close()

    def close(self) -> None:
        self._used = True
        self._frames.close()
