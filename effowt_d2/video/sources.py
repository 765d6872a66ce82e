"""Open frames from a video file, a folder, a list or glob of images, a camera, or a program; one at a time.

Frames are BGR uint8 arrays (H, W, 3). A frame's index is its place in the source, from 0, whatever is left
out.
"""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .frame_reader import Frame, FrameReader
from .image_reader import IMAGE_ENDINGS, ArrayReader, ImageReader, existing_images, images_of_folder, natural_order
from .video_reader import VideoReader

__all__ = ["Frame", "FrameReader", "FrameSource", "IMAGE_ENDINGS", "open_frames"]

FrameSource = str | Path | int | Sequence[str | Path] | Iterable[np.ndarray]
"""What frames can be opened from."""


def open_frames(
    source: FrameSource,
    *,
    stride: int = 1,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
) -> FrameReader:
    """Open a source of frames.

    Args:
        source: a video file, a folder of images (in natural order), an image, a glob of images, a list of
            images (in the order given), the number of a camera (also as text), or an iterable of (H, W, 3) BGR
            uint8 arrays.
        stride: take every ``stride``-th frame.
        start: seconds to leave out at the beginning.
        end: second to stop before; None: the end.
        fps: frames per second of images and arrays; None: 30. A video knows its own.

    Raises:
        FileNotFoundError: there is no such file, or nothing fits the glob.
        PermissionError: the file is not readable.
        ValueError: not a video, no frames, no images, no such camera, or a bad stride or range.
    """
    choice = dict(stride=stride, start=start, end=end)
    if fps is not None and fps <= 0:
        raise ValueError(f"frames per second must be above 0, got {fps}")
    if isinstance(source, int):
        return VideoReader(source, **choice)
    if isinstance(source, (str, Path)):
        return _open_path(source, fps, choice)
    # only a sequence can be looked into without taking a frame from it
    if not isinstance(source, Sequence) or (source and not isinstance(source[0], (str, Path))):
        return ArrayReader(source, fps=fps, **choice)
    if len(source) == 1:
        return _open_path(source[0], fps, choice)
    return ImageReader(existing_images(source), name=f"{len(source)} images", fps=fps, **choice)


def _open_path(source: str | Path, fps: float | None, choice: dict) -> FrameReader:
    path = Path(source)
    if path.is_dir():
        return ImageReader(images_of_folder(path), name=str(path), fps=fps, **choice)
    if path.is_file():
        if not os.access(path, os.R_OK):
            raise PermissionError(f"input {path} is not readable")
        if path.suffix.lower() in IMAGE_ENDINGS:
            return ImageReader([path], name=str(path), fps=fps, **choice)
        return VideoReader(path, **choice)
    if str(source).isdigit():
        return VideoReader(int(str(source)), **choice)
    matches = sorted(map(Path, glob.glob(str(source))), key=natural_order) if glob.has_magic(str(source)) else []
    if not matches:
        raise FileNotFoundError(f"input {source}: no such file or folder, and no glob that matches one")
    return ImageReader(existing_images(matches), name=str(source), fps=fps, **choice)
