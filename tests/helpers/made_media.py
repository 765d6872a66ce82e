"""Videos of every container and codec that PyAV can write; the brightness of a frame encodes its number."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .made_videos import make_frame

# encoders that write notes of their own to the terminal unless asked not to
_OPTIONS = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx": {"deadline": "realtime"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
}


def encode(
    path: Path,
    count: int = 12,
    *,
    codec: str = "libx264",
    fps: float = 10,
    times: Sequence[float] | None = None,
    size: tuple[int, int] = (64, 48),
    format: str | None = None,
    pix_fmt: str = "yuv420p",
    gop: int = 4,
    b_frames: bool = False,
    pixel_shape: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video.

    Args:
        count: frames; ``times`` has as many.
        times: seconds of the frames; None: ``1 / fps`` apart.
        format: container; None: by the file extension.
        gop: frames from one key frame to the next.
        b_frames: whether frames are stored in another order than they are shown.
        pixel_shape: width of a pixel by its height.
        options: for the container.
    """
    rate = Fraction(fps).limit_denominator(1001)
    settings = dict(_OPTIONS.get(codec, {}))
    if b_frames:
        settings.pop("tune", None)
        settings.update(preset="fast", bf="2")
    with av.open(str(path), "w", format=format, container_options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=settings)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.gop_size = gop
        if pixel_shape:
            stream.sample_aspect_ratio = pixel_shape
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(make_frame(number, size), format="bgr24")
            if times is None:
                frame.pts, frame.time_base = number, 1 / rate
            else:
                frame.pts, frame.time_base = round(1000 * times[number]), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def join(path: Path, parts: Sequence[Path]) -> Path:
    """Files one behind the other, as ``cat`` does it."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut(path: Path, fraction: float) -> Path:
    """The file without its end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def add_sound(video: Path, path: Path, codec: str = "aac") -> Path:
    """A copy of the video with a rising tone as long as it is."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        frames = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream(codec, rate=44100)
        seconds = source.duration / av.time_base
        time = np.arange(round(44100 * seconds)) / 44100
        wave = (0.3 * np.sin(2 * np.pi * (300 + 200 * time) * time)).astype(np.float32)
        for start in range(0, len(wave), 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = frames
                target.mux(packet)
    return path
