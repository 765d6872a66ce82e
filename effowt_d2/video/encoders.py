"""Choice and setup of FFmpeg's encoder for a video file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation

__all__ = ["VIDEO_ENCODERS", "Encoder", "add_video", "find_encoder", "to_encode"]

_MOST_BITS_PER_PIXEL = 0.2
# of H.273: the colours of sRGB, by the matrix of BT.601, which VP8 can't name and OpenCV converts with
_BT709, _BT601 = 1, 6

_H264 = ("libx264", "libopenh264")
VIDEO_ENCODERS = {
    ".mp4": _H264,
    ".webm": ("libvpx", "libvpx-vp9"),  # VP8 plays in every browser and encodes four times faster
    ".mkv": _H264,
    ".avi": ("mjpeg",),
    ".mov": _H264,
}
"""Encoders by file extension, the preferred one first; a build of FFmpeg may lack some."""


@dataclass(frozen=True)
class Encoder:
    """An encoder and its settings.

    Attributes:
        name: as FFmpeg calls it.
        options: of the encoder.
        pix_fmt: format of its pixels.
        limited: whether it needs a limit of its bit rate.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    pix_fmt: str = "yuv420p"
    limited: bool = False


# without frames out of order a file has the duration of its header, whatever the times
_KNOWN = {
    "libx264": Encoder("libx264", dict(preset="veryfast", crf="20", bf="0")),
    "libopenh264": Encoder("libopenh264", limited=True),
    "libvpx": Encoder("libvpx", {"deadline": "realtime", "cpu-used": "8", "crf": "10"}, limited=True),
    "libvpx-vp9": Encoder("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "31"}, limited=True),
    # a fixed quality of 3 on FFmpeg's scale from 2 (best) to 31, which counts in steps of 118
    "mjpeg": Encoder("mjpeg", {"flags": "+qscale", "global_quality": str(3 * 118)}, pix_fmt="yuvj420p"),
}


def find_encoder(path: Path) -> Encoder:
    """The encoder for a file.

    Raises:
        ValueError: unknown file extension.
        OSError: FFmpeg was built without the encoders for it.
    """
    extension = path.suffix.lower()
    if extension not in VIDEO_ENCODERS:
        raise ValueError(f"output {path}: unknown file extension {path.suffix!r}; known: {', '.join(VIDEO_ENCODERS)}")
    there = {known: next(filter(_exists, names), None) for known, names in VIDEO_ENCODERS.items()}
    name = there[extension]
    if name is None:
        wanted, others = " or ".join(VIDEO_ENCODERS[extension]), [known for known, found in there.items() if found]
        raise OSError(
            f"output {path}: FFmpeg was built without an encoder for {extension} ({wanted}); "
            f"there are encoders for {', '.join(others) or 'no video'}"
        )
    return _KNOWN[name]


def _exists(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def add_video(
    container: av.container.OutputContainer, encoder: Encoder, *, size: tuple[int, int], fps: float, time_base: Fraction
) -> av.VideoStream:
    """Add a stream of frames that come from :func:`to_encode`.

    Args:
        container: what it's added to.
        encoder: of :func:`find_encoder`.
        size: width and height, even.
        fps: frames per second, about.
        time_base: seconds of the unit that frames are timed in.
    """
    rate = max(Fraction(fps).limit_denominator(100_000), Fraction(1, 100_000))
    # a key frame every two seconds, so that players jump fast
    options = dict(encoder.options, g=str(max(1, min(250, round(2 * fps)))))
    stream = cast(av.VideoStream, container.add_stream(encoder.name, rate=rate, options=options))
    stream.width, stream.height = size
    stream.pix_fmt = encoder.pix_fmt
    stream.time_base = time_base
    context = stream.codec_context
    context.time_base = time_base
    if encoder.limited:
        context.bit_rate = round(_MOST_BITS_PER_PIXEL * size[0] * size[1] * min(max(fps, 1), 60))
    if encoder.pix_fmt == "yuv420p":
        context.color_primaries = context.color_trc = _BT709
        context.colorspace = _BT601
        context.color_range = ColorRange.MPEG
    return stream


def to_encode(image: np.ndarray, encoder: Encoder) -> av.VideoFrame:
    """A BGR image (H, W, 3), of even sides, in the colours that its encoder takes."""
    if encoder.pix_fmt == "yuv420p":
        converted = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)
        return av.VideoFrame.from_ndarray(converted, format="yuv420p")
    frame = av.VideoFrame.from_ndarray(image, format="bgr24")
    colors = dict(dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG)
    return frame.reformat(format=encoder.pix_fmt, interpolation=Interpolation.ACCURATE_RND, **colors)
