"""The sound of a video, copied packet by packet beside re-encoded frames."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av

__all__ = ["Sound", "SoundCopy"]

# the packet that the first one needs to be decoded; where the container can, it is not played
_BEFORE = 0.1


@dataclass(frozen=True)
class Sound:
    """A video file with sound.

    Attributes:
        path: the file.
        origin: seconds by the clock of the file that the times of its frames are counted from.
        codec: name of the sound's codec.
    """

    path: Path
    origin: float
    codec: str


class SoundCopy:
    """Copies sound into a file that is being written.

    Args:
        sound: what is copied.
        output: where to; its header must not be written yet.
        begin: seconds of the first frame written.

    Raises:
        av.FFmpegError: the sound can't be read, or doesn't fit into the container.
    """

    def __init__(self, sound: Sound, output: av.container.OutputContainer, begin: float) -> None:
        self._output, self._begin = output, begin
        self._input = av.open(f"file:{sound.path}", metadata_errors="replace")
        source = self._input.streams.best("audio")
        if source is None or source.time_base is None:
            raise av.InvalidDataError(errno.EINVAL, "there is no sound in it")
        self._source, self._time_base = source, source.time_base
        self._stream = output.add_stream_from_template(self._source)
        self._offset = sound.origin + begin
        if begin > 0:
            self._input.seek(int((self._offset - _BEFORE) / self._time_base), stream=self._source)
        self._packets = self._read()
        self._next = next(self._packets, None)

    def _read(self) -> Iterator[tuple[float, av.Packet]]:
        """Seconds from the first frame, and packet moved there."""
        time_base = self._time_base
        offset = round(self._offset / time_base)
        try:
            for packet in self._input.demux(self._source):
                if packet.pts is None or packet.dts is None or not packet.size:
                    continue
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                if packet.pts * time_base >= -_BEFORE:
                    yield float(packet.pts * time_base), packet
        # damaged: what came before is copied
        except av.FFmpegError:
            return

    def copy_until(self, time: float) -> None:
        """Copy what begins before a time in seconds of the source."""
        while self._next is not None and self._next[0] < time - self._begin:
            packet = self._next[1]
            packet.stream = self._stream
            self._output.mux_one(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Let go of the source."""
        self._packets = iter(())
        self._input.close()
