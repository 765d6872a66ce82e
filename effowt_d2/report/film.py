"""The frames of a report as H.264 on disk, thinned evenly to a size budget."""

import io
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO, NamedTuple, cast

import av
import cv2
import numpy as np

from effowt_d2.video.encoders import Encoder, to_encode
from effowt_d2.video.fit import even_side, fit_image

__all__ = ["Film"]

_TICK = Fraction(1, 90_000)
_H264 = Encoder("libx264")
# a packet for every frame at once, so that what is on the disk is whole
_OPTIONS = {"preset": "veryfast", "tune": "zerolatency", "crf": "26", "threads": "1"}


class _Packet(NamedTuple):
    """A frame on the disk: where it starts, its length, its time in ticks and whether it stands alone."""

    start: int
    length: int
    tick: int
    key: bool


class Film:
    """Frames of one size, that of the first; others are scaled to fit into it.

    The file has no name, so it goes away with the process, however that ends.

    Args:
        folder: where the file lies.
        fps: frames per second, about.
        longest: most pixels of the longer side; larger frames are made smaller.

    Attributes:
        stride: frames from one that is kept to the next.
        bytes: bytes on the disk.
        size: width and height in pixels, even; (0, 0) before the first frame.
    """

    def __init__(self, folder: Path, *, fps: float, longest: int) -> None:
        self._folder, self._fps, self._longest = folder, fps, longest
        self._first = self._inner = self.size = (0, 0)
        self.stride = 1
        self._start()

    def _start(self) -> None:
        # unbuffered: a failed write leaves nothing that would be tried again
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder, buffering=0)
        self._packets: list[_Packet] = []
        self.bytes = 0
        self._encoder: av.VideoCodecContext | None = None

    def scale(self, width: int, height: int) -> np.ndarray:
        """(x, y) pixels of the film per pixel of a frame of this size."""
        scales = np.array([self._inner[0] / width, self._inner[1] / height])
        # whole pixels of the first size fill the film, others fit into it
        return scales if (width, height) == self._first else scales.min().repeat(2)

    def add(self, image: np.ndarray, time: float) -> None:
        """Append a frame that is kept; times in seconds increase.

        Raises:
            OSError: it can't be written; the frames before it stay usable.
        """
        height, width = image.shape[:2]
        if self._inner == (0, 0):
            self._first = (width, height)
            shrink = min(1.0, self._longest / max(width, height))
            self._inner = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            self.size = (even_side(self._inner[0]), even_side(self._inner[1]))
        if (width, height) == self._first != self._inner:
            image = cv2.resize(image, self._inner, interpolation=cv2.INTER_AREA)
        self._encode(to_encode(fit_image(image, self._inner, self.size), _H264), round(time / _TICK))

    def _encode(self, frame: av.VideoFrame, tick: int) -> None:
        self._encoder = self._encoder or self._open()
        last = self._packets[-1].tick if self._packets else tick - 1
        frame.pts, frame.time_base = max(tick, last + 1), _TICK
        frame.pict_type = av.video.frame.PictureType.NONE
        for packet in self._encoder.encode(frame):
            data = bytes(packet)
            self._file.seek(self.bytes)
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
            self._packets.append(_Packet(self.bytes, len(data), packet.pts or 0, packet.is_keyframe))
            self.bytes += len(data)

    def _open(self) -> av.VideoCodecContext:
        encoder = cast(av.VideoCodecContext, av.CodecContext.create(_H264.name, "w"))
        encoder.width, encoder.height = self.size
        encoder.pix_fmt, encoder.time_base = _H264.pix_fmt, _TICK
        rate = self._fps / self.stride
        encoder.framerate = max(Fraction(rate).limit_denominator(100_000), Fraction(1, 100_000))
        # a key frame every two seconds: jumps are fast
        encoder.options = dict(_OPTIONS, g=str(max(1, min(250, round(2 * rate)))))
        return encoder

    def drop_last(self) -> None:
        """Forget the last frame; none may follow it."""
        self.bytes -= self._packets.pop().length

    def thin(self) -> None:
        """Drop every second frame; the others are encoded again.

        Raises:
            OSError: the disk is full; nothing is dropped then.
        """
        old, packets, size = self._file, self._packets, self.bytes
        self.stride *= 2
        self._start()
        try:
            for place, frame in enumerate(_decoded(old, packets)):
                if place % 2 == 0:
                    self._encode(frame, packets[place].tick)
        except OSError:
            self._file.close()
            self._file, self._packets, self.bytes, self.stride = old, packets, size, self.stride // 2
            raise
        old.close()

    def image(self, place: int) -> np.ndarray:
        """The (H, W, 3) BGR frame kept at a place, from 0."""
        first = max(number for number in range(place + 1) if self._packets[number].key)
        for number, frame in enumerate(_decoded(self._file, self._packets[first:]), first):
            if number == place:
                return frame.to_ndarray(format="bgr24")
        raise IndexError(f"frame {place} of {len(self)}")

    def __len__(self) -> int:
        return len(self._packets)

    def mp4(self) -> bytes:
        """The film as a file that browsers play; its times count from the first frame."""
        made = io.BytesIO()
        with av.open(made, "w", format="mp4") as container:
            stream = cast(av.VideoStream, container.add_stream(_H264.name, options=_OPTIONS))
            stream.width, stream.height = self.size
            stream.pix_fmt = _H264.pix_fmt
            stream.time_base = stream.codec_context.time_base = _TICK
            container.start_encoding()
            for number, kept in enumerate(self._packets):
                packet = _read(self._file, kept)
                packet.pts = packet.dts = kept.tick - self._packets[0].tick
                following = self._packets[number + 1].tick if number + 1 < len(self) else None
                packet.duration = (following or kept.tick + round(self.stride / self._fps / _TICK)) - kept.tick
                packet.stream = stream
                container.mux_one(packet)
        return made.getvalue()

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


def _decoded(file: IO[bytes], packets: list[_Packet]) -> Iterator[av.VideoFrame]:
    """The frames of packets of which the first stands alone."""
    decoder = cast(av.VideoCodecContext, av.CodecContext.create("h264", "r"))
    for packet in packets:
        yield from decoder.decode(_read(file, packet))
    yield from decoder.decode(None)


def _read(file: IO[bytes], packet: _Packet) -> av.Packet:
    file.seek(packet.start)
    made = av.Packet(file.read(packet.length))
    made.pts = made.dts = packet.tick
    made.time_base, made.is_keyframe = _TICK, packet.key
    return made
