"""A video opened by FFmpeg (through PyAV): its packets at continuous times, and what they decode to."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av

from .frame_reader import DEFAULT_FPS

__all__ = ["Media", "has_frame"]

# damage inside a container: this many reads may fail in a row before it counts as its end
_END_AFTER_FAILURES = 100

# formats that show text files as images
_TEXT_FORMATS = {"adf", "bin", "idf", "tty", "xbin"}

# formats whose header has the end of the last frame, not the duration
_LENGTH_FROM_ZERO = {"flv", "matroska,webm"}

# a larger gap in seconds between two frames means that the clock of a broadcast was reset
_JUMP = 10

# flags of a format: packets carry no times, or the times may jump
_NO_TIMES, _JUMPS = 0x80, 0x200


class Media:
    """The video stream of a file or address.

    Args:
        source: what FFmpeg opens.
        options: for FFmpeg.
        timeout: seconds to wait for data; None: as long as it takes.
        threads: frames that are decoded at once. With more than one, a damaged frame among the last can take those
            with it that are decoded beside it.

    Attributes:
        stream: the stream.
        raw: whether it's the stream of a codec without a container.
        rate: frames per second declared by the file, None if not declared.
        time_base: seconds of the unit that the stream counts times in.
        numbered: whether the frames have no usable times but their number: raw streams, and AVI with frames out of order.

    Raises:
        ValueError: no video in it, or no decoder for it.
        av.FFmpegError: it can't be opened.
    """

    def __init__(self, source: str, *, options: dict[str, str], timeout: float | None, threads: int = 1) -> None:
        # texts inside a file may be in any encoding
        self.container = av.open(source, options=options, timeout=timeout, metadata_errors="replace")
        try:
            self.stream = _video_stream(self.container)
        except ValueError:
            self.container.close()
            raise
        codec, self.format = self.stream.codec_context, self.container.format.name
        codec.thread_type, codec.thread_count = "AUTO", threads
        flags = self.container.format.flags
        self.raw = bool(flags & _NO_TIMES)
        # the rate of a raw stream would be FFmpeg's own default if the codec doesn't know it
        self.rate = codec.framerate if self.raw else (self.stream.average_rate or self.stream.guessed_rate)
        self.numbered = self.raw or (self.format == "avi" and bool(codec.has_b_frames))
        self._corrupt: set[int | None] = set()
        self.time_base = self.stream.time_base or Fraction(1, av.time_base)
        self._clock = _Clock(self.time_base, self.rate, bool(flags & _JUMPS))

    @property
    def restarts(self) -> int:
        """Number of clock resets of the stream so far."""
        return self._clock.restarts

    @property
    def declared_duration(self) -> float | None:
        """Seconds from the first frame to the end, as declared by the header; None if not declared."""
        if self.container.duration is None:
            return None
        begin = float((self.stream.start_time or 0) * self.time_base) if self.format in _LENGTH_FROM_ZERO else 0.0
        return max(0.0, self.container.duration / av.time_base - begin)

    @property
    def sound_codec(self) -> str | None:
        """Codec of the sound that a player plays; None where there is none that FFmpeg knows."""
        sound = self.container.streams.best("audio")
        return sound.codec_context.codec.canonical_name if sound and sound.codec_context else None

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the video, at continuous times."""
        failures = 0
        while failures < _END_AFTER_FAILURES:
            try:
                for packet in self.container.demux(self.stream):
                    # an empty one would end the decoding
                    if packet.size:
                        failures = 0
                        self._clock.place(packet)
                        # a broadcast marks the packet behind a gap; the decoder knows better what is missing
                        if packet.is_corrupt and self.format != "mpegts":
                            self._corrupt.add(packet.pts)
                        yield packet
                return
            except av.InvalidDataError:
                failures += 1

    def is_damaged(self, frame: av.VideoFrame) -> bool:
        """Whether a part of the frame is missing; what its neighbours passed on to it is not known."""
        return frame.is_corrupt or (frame.pts is not None and frame.pts in self._corrupt)

    def frames(self) -> Iterator[av.VideoFrame | None]:
        """The frames in order of their times, None for a packet that can't be decoded.

        Raises:
            av.FFmpegError: nothing more can be read; what was read before has been given.
        """
        broken = None
        try:
            for packet in self.packets():
                yield from self._decode(packet)
        except av.FFmpegError as error:
            broken = error
        yield from self._decode(None)
        if broken:
            raise broken

    def _decode(self, packet: av.Packet | None) -> Sequence[av.VideoFrame | None]:
        try:
            return self.stream.codec_context.decode(packet)
        except EOFError:
            return []
        except av.FFmpegError:
            return [None]

    def seek(self, time: int) -> None:
        """Go on at the last key frame up to a time, in units of the stream's time base; av.FFmpegError if it can't."""
        self.container.seek(time, stream=self.stream, backward=True)
        self._clock.forget()

    def close(self) -> None:
        self.container.close()


class _Clock:
    """Moves the times of packets on where a joined file starts again from zero."""

    def __init__(self, time_base: Fraction, rate: Fraction | None, discontinuous: bool) -> None:
        self._step = max(1, round(1 / (time_base * (rate or Fraction(DEFAULT_FPS)))))
        self._jump = round(_JUMP / time_base) if discontinuous else None
        self._offset, self.restarts = 0, 0
        self._last: int | None = None

    def forget(self) -> None:
        self._last = None

    def place(self, packet: av.Packet) -> None:
        if packet.dts is not None:
            moment = packet.dts + self._offset
            if self._last is not None and self._clock_restarts(moment, self._last):
                self.restarts += 1
                self._offset += self._last + self._step - moment
            self._last = packet.dts = packet.dts + self._offset
        if packet.pts is not None:
            packet.pts += self._offset

    def _clock_restarts(self, moment: int, last: int) -> bool:
        # broken muxers step back a little, a restart is far back
        if moment < last - 2 * self._step:
            return True
        return self._jump is not None and moment > last + self._jump


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that a player shows; all others are skipped from now on."""
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams or container.format.name in _TEXT_FORMATS:
        raise ValueError("there is no video in it")
    best = container.streams.best("video")
    chosen = best if best in streams else streams[0]
    if chosen.codec_context is None:
        raise ValueError(f"there is no decoder for it (codec tag {chosen.codec_tag!r})")
    for stream in container.streams:
        if stream is not chosen:
            stream.discard = av.stream.Discard.all
    return chosen


def has_frame(packet: av.Packet) -> bool:
    """Whether the packet holds a frame that is shown: some only help to decode others."""
    if packet.is_discard:
        return False
    # VP8 alone puts such frames into packets of their own; the bit is in its first byte
    if packet.stream.codec_context.name in ("vp8", "libvpx"):
        return bool(bytes(packet)[0] & 0x10)
    return True
