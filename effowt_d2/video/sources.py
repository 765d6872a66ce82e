"""Open frames from a video, a folder, a list or glob of images, an address, a camera, or a program; one at a time.

Frames are BGR uint8 arrays (H, W, 3). A frame's index is its place in the source, from 0, whatever is left
out.
"""

import glob
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from .address import is_address
from .camera_reader import CameraReader
from .frame_reader import Frame, FrameReader, never
from .image_files import existing_images, images_of_folder, is_image, natural_order
from .image_reader import ArrayReader, ImageReader
from .stream_reader import StreamReader
from .video_reader import VideoReader

__all__ = ["Frame", "FrameReader", "FrameSource", "open_frames"]

FrameSource = str | Path | int | Sequence[str | Path] | Iterable[np.ndarray]
"""What frames can be opened from."""


def open_frames(
    source: FrameSource,
    *,
    stride: int = 1,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
    timeout: float = 10.0,
    stop: Callable[[], bool] = never,
) -> FrameReader:
    """Open a source of frames.

    Args:
        source: a video file, a folder of images (in natural order, hidden files skipped), an image, a glob of
            images, a list of images (in the order given), an address (``http://``, ``rtsp://``, ...), ``-`` for
            standard input, the number of a camera (also as text), or an iterable of (H, W, 3) BGR uint8 arrays.
            Files of several images (TIFF, GIF, APNG, WebP, AVIF) give all of them.
        stride: take every ``stride``-th frame.
        start: seconds to skip at the start.
        end: second to stop before; None: the end.
        fps: frames per second of images, arrays and videos without a container; None: 30. A video or animation knows
            its own.
        timeout: seconds that an address may take to answer, or to send more.
        stop: asked between frames and while waiting; once it returns True, the frames end.

    Raises:
        FileNotFoundError: there is no such file, or nothing fits the glob.
        PermissionError: the file is not readable.
        TimeoutError, ConnectionError: an address doesn't answer.
        InterruptedError: ``stop`` returned True while the source was opened.
        ValueError: not a video, no frames, no images, no such camera, or a bad stride, range or rate.
    """
    choice = dict(stride=stride, start=start, end=end, stop=stop)
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"frames per second must be above 0 and finite, got {fps}")
    if not 0 < timeout < math.inf:
        raise ValueError(f"the timeout must be above 0 s and finite, got {timeout}")
    # only a sequence can be looked into without taking a frame from it
    if isinstance(source, Sequence) and not isinstance(source, str) and len(source) == 1:
        source = source[0] if isinstance(source[0], (str, Path)) else source
    if isinstance(source, int):
        return CameraReader(source, **choice)
    if isinstance(source, (str, Path)):
        return _open_path(source, fps, timeout, choice)
    if not isinstance(source, Sequence) or (source and not isinstance(source[0], (str, Path))):
        return ArrayReader(source, fps=fps, **choice)
    return ImageReader(existing_images(source), name=f"{len(source)} images", fps=fps, **choice)


def _open_path(source: str | Path, fps: float | None, timeout: float, choice: dict) -> FrameReader:
    path = Path(source)
    if path.is_dir():
        return ImageReader(images_of_folder(path), name=str(path), fps=fps, **choice)
    if path.is_file():
        if not os.access(path, os.R_OK):
            raise PermissionError(f"input {path} is not readable")
        if is_image(path):
            return ImageReader(existing_images([path]), name=str(path), fps=fps, **choice)
        return VideoReader(path, fps=fps, **choice)
    if is_address(source):
        return StreamReader(str(source), timeout=timeout, fps=fps, **choice)
    if str(source).isdecimal():
        return CameraReader(int(str(source)), **choice)
    matches = sorted(map(Path, glob.glob(str(source))), key=natural_order) if glob.has_magic(str(source)) else []
    if not matches:
        raise FileNotFoundError(f"input {source}: no such file or folder, and no glob that matches one")
    return ImageReader(existing_images(matches), name=str(source), fps=fps, **choice)
