"""Times of all frames of a video file, from its packets, without decoding."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from .frame_reader import DEFAULT_FPS
from .media import Media, has_frame
from .structure import Structure

__all__ = ["Timeline", "measure"]

# a header may claim any length
_MAX_FILLED = 1_000_000

# this fraction of a video's length makes it one of a constant rate
_REGULAR = 0.8


@dataclass(frozen=True)
class Timeline:
    """The frames that a file should give.

    Attributes:
        ticks: (N,) int64 times of the frames, increasing, in units of ``time_base``.
        time_base: seconds of a tick.
        fps: frames per second, their mean where they vary.
        leading: how many of the first frames may lack the frames they are predicted from.
        hidden: frames that the file holds and doesn't show.
        missing: how many of the last frames are beyond the end of a file that was cut short.
        cut: whether the file was cut short; how many frames are missing can't always be known.
        damaged: whether a part of it is damaged or missing, as far as its packets show.
    """

    ticks: np.ndarray
    time_base: Fraction
    fps: float
    leading: int = 0
    hidden: int = 0
    missing: int = 0
    cut: bool = False
    damaged: bool = False

    @property
    def times(self) -> np.ndarray:
        """(N,) seconds from the first frame."""
        return (self.ticks - self.ticks[:1]) * float(self.time_base)

    def without_first(self, count: int) -> "Timeline":
        """The same without its first frames, which are hidden then."""
        return replace(self, ticks=self.ticks[count:], leading=0, hidden=self.hidden + count)


@dataclass
class _Scan:
    """Data of a video's packets, in order of decoding; the last one is ``span`` ticks long."""

    ticks: list[int] = field(default_factory=list)
    keys: list[bool] = field(default_factory=list)
    span: int = 0
    hidden: int = 0
    damaged: bool = False
    ends_damaged: bool = False


def measure(media: Media, structure: Structure, fps: float | None, stop: Callable[[], bool]) -> Timeline:
    """Read through a video that was just opened; it is at its end afterwards.

    Args:
        media: the video.
        structure: of its file.
        fps: frames per second of a raw stream; None: that of the stream, or 30.
        stop: asked between packets.

    Raises:
        InterruptedError: ``stop`` returned True.
    """
    scan = _scan(media, stop)
    damaged = scan.damaged or structure.damaged
    rate, time_base, span = media.rate, media.time_base, scan.span
    if media.numbered:
        rate = Fraction(fps) if fps and media.raw else rate or Fraction(DEFAULT_FPS)
        time_base, span = 1 / rate, 1
        found = np.arange(max(len(scan.ticks), _indexed(media)))
    else:
        found = _repaired(np.sort(np.array(scan.ticks, np.int64)), media, damaged)
    cut = structure.cut or scan.ends_damaged
    line = Timeline(
        ticks=found,
        time_base=time_base,
        fps=_mean_rate(found * float(time_base), span * float(time_base), float(rate or 0)),
        leading=_leading(scan),
        hidden=scan.hidden,
        cut=cut,
        damaged=cut or damaged or len(found) > len(scan.ticks),
    )
    return _with_missing(line, media) if line.cut and len(found) else line


def _scan(media: Media, stop: Callable[[], bool]) -> _Scan:
    scan = _Scan()
    for packet in media.packets():
        if stop():
            raise InterruptedError(f"stopped while {media.container.name} was read through")
        scan.damaged, scan.ends_damaged = scan.damaged or scan.ends_damaged, packet.is_corrupt
        if not has_frame(packet):
            scan.hidden += 1
            continue
        tick = packet.pts if packet.pts is not None else packet.dts
        scan.ticks.append(len(scan.ticks) if media.numbered or tick is None else tick)
        scan.keys.append(packet.is_keyframe)
        scan.span = packet.duration or 0
    return scan


def _leading(scan: _Scan) -> int:
    """Frames that come before the first key frame, or are shown before it."""
    if not any(scan.keys):
        return 0
    first = scan.keys.index(True)
    return sum(place < first or tick < scan.ticks[first] for place, tick in enumerate(scan.ticks))


def _indexed(media: Media) -> int:
    """Frames in the index of an AVI, which are all it holds; 0 without one."""
    return sum(entry.size > 0 for entry in media.stream.index_entries) if media.format == "avi" else 0


def _repaired(ticks: np.ndarray, media: Media, damaged: bool) -> np.ndarray:
    """The times with those of frames that damage inside the container has swallowed."""
    if media.format == "avi" and _indexed(media) > len(ticks):
        indexed = [entry.timestamp for entry in media.stream.index_entries if entry.size > 0]
        return np.union1d(ticks, np.array(indexed, np.int64))
    gaps = np.diff(ticks)
    if not damaged or len(gaps) < 2:
        return ticks
    step = np.median(gaps)
    # only with a constant rate the number of frames in a gap is known
    if step <= 0 or np.mean(gaps < 1.5 * step) < _REGULAR:
        return ticks
    lost = np.rint(gaps / step).astype(int) - 1
    filled = [ticks[n] + step * np.arange(1, lost[n] + 1) for n in np.flatnonzero(lost > 0) if lost[n] < _MAX_FILLED]
    return np.sort(np.concatenate([ticks, *filled]).astype(np.int64))


def _mean_rate(times: np.ndarray, span: float, nominal: float) -> float:
    """Frames per second of increasing times in seconds; the last frame lasts ``span``, ``nominal`` 0: unknown."""
    count, lasts = len(times), float(times[-1] - times[0]) if len(times) else 0.0
    gaps = np.diff(times)
    # times are rounded: the nominal rate is better if it fits, whatever few frames lack
    regular = gaps[np.abs(gaps * nominal - 1) < 0.5].sum() >= _REGULAR * lasts
    if nominal and (regular or abs((lasts + span) * nominal - count) <= 0.5):
        return nominal
    if count > 1 and lasts > 0:
        return (count - 1) / lasts
    return nominal or DEFAULT_FPS


def _with_missing(line: Timeline, media: Media) -> Timeline:
    """The same with the frames behind the cut, as many as the header declares."""
    step = max(1, round(1 / (Fraction(line.fps) * line.time_base)))
    missing = media.stream.frames - len(line.ticks) - line.hidden
    if not media.stream.frames and media.declared_duration and not media.numbered:
        missing = round((media.declared_duration - float(line.times[-1])) / (step * float(line.time_base))) - 1
    missing = min(max(0, missing), _MAX_FILLED)
    more = line.ticks[-1] + step * np.arange(1, missing + 1)
    return replace(line, ticks=np.concatenate([line.ticks, more]), missing=missing)
