"""Frames from a video file, a folder, a list or glob of images, or a webcam; one at a time.

Frames are BGR uint8 arrays (H, W, 3). A frame's index is its place in the source, from 0, whatever is left
out.
"""

import glob
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

__all__ = ["Frame", "FrameReader", "IMAGE_ENDINGS", "open_frames"]

IMAGE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# a file cut short fails on and on; this many failures in a row end it
_END_AFTER_FAILURES = 300

# frames per second of sources that don't know theirs
DEFAULT_FPS = 30.0


class Frame(NamedTuple):
    """A frame: its place in the source, the image (H, W, 3) BGR uint8, and its name."""

    index: int
    image: np.ndarray
    name: str


class FrameReader:
    """Iterates once over the chosen frames of a source; a context manager that closes it.

    Attributes:
        name: the source, for messages.
        fps: frames per second of the source.
        stride: every how many-th frame is taken.
        length: frames that will be taken, None where the source can't tell (a webcam).
        skipped: chosen or passed frames that could not be decoded, so far.

    Raises:
        ValueError: a stride below 1, or a time range without frames.
    """

    def __init__(
        self, *, name: str, fps: float, total: int | None, stride: int, start: float, end: float | None
    ) -> None:
        if stride < 1:
            raise ValueError(f"the frame stride must be at least 1, got {stride}")
        if start < 0 or (end is not None and end <= start):
            raise ValueError(f"the time range needs 0 <= start < end, got start {start} s and end {end} s")
        self.name, self.fps, self.stride, self.skipped = name, fps, stride, 0
        # the small term keeps a time that names a frame exactly from being rounded past it
        self._first = math.ceil(start * fps - 1e-6)
        self._stop = math.inf if end is None else math.ceil(end * fps - 1e-6)
        self.length = None if total is None else len(range(self._first, int(min(self._stop, total)), stride))
        if self.length == 0:
            raise ValueError(f"{name}: no frame from {start} s to {end} s, it lasts {total / fps:.2f} s")

    def _wanted(self, index: int) -> bool:
        return index >= self._first and (index - self._first) % self.stride == 0

    def __iter__(self) -> Iterator[Frame]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the source."""

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _VideoReader(FrameReader):
    """A video file, or a webcam by its number."""

    def __init__(self, source: Path | int, **choice) -> None:
        live = isinstance(source, int)
        name = f"webcam {source}" if live else str(source)
        self._capture = cv2.VideoCapture(source if live else str(source))
        try:
            if not self._capture.isOpened():
                raise ValueError(f"{name} can't be opened as a video")
            # the first frame is fetched now, so that an empty video is known before a model is built
            if not self._capture.grab():
                raise ValueError(f"{name} is a video without frames")
            fps = self._capture.get(cv2.CAP_PROP_FPS)
            count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
            self._declared = count if count > 0 and not live else None
            fps = fps if 0 < fps < 1000 else DEFAULT_FPS
            super().__init__(name=name, fps=fps, total=self._declared, **choice)
        except ValueError:
            self._capture.release()
            raise
        self._stem = name if live else source.stem

    def __iter__(self) -> Iterator[Frame]:
        declared = self._declared or 0
        index, grabbed, failures = 0, True, 0
        while index < self._stop:
            failures = 0 if grabbed else failures + 1
            # a failed grab is a corrupt frame or the end; only the number of frames declared can tell which
            if not grabbed and (index >= declared or failures > _END_AFTER_FAILURES):
                break
            if not grabbed:
                self.skipped += 1
            elif self._wanted(index):
                decoded, image = self._capture.retrieve()
                if decoded and image is not None:
                    yield Frame(index, image, f"{self._stem}:{index:06d}")
                else:
                    self.skipped += 1
            index += 1
            grabbed = index < self._stop and self._capture.grab()
        self.skipped += max(0, int(min(declared, self._stop)) - index)

    def close(self) -> None:
        self._capture.release()


class _ImageReader(FrameReader):
    """Image files in a given order."""

    def __init__(self, paths: Sequence[Path], *, name: str, fps: float | None, **choice) -> None:
        super().__init__(name=name, fps=fps or DEFAULT_FPS, total=len(paths), **choice)
        self._paths = paths

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths[: int(min(self._stop, len(self._paths)))]):
            if not self._wanted(index):
                continue
            image = _read_image(path)
            if image is None:
                self.skipped += 1
            else:
                yield Frame(index, image, path.stem)


def _read_image(path: Path) -> np.ndarray | None:
    """The image, or None if the file is not a whole one."""
    data = path.read_bytes()
    # a JPEG cut short decodes to grey below the cut; its end marker after the last scan tells
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def _natural(path: Path) -> list:
    """Sort key that puts frame 2 before frame 10."""
    parts = re.split(r"(\d+)", str(path.with_suffix("")))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in (*parts, path.suffix)]


def _images_of_folder(folder: Path) -> list[Path]:
    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS), key=_natural)
    if not paths:
        raise ValueError(f"folder {folder} holds no images ({', '.join(IMAGE_ENDINGS)})")
    return paths


def open_frames(
    source: str | Path | Sequence[str | Path],
    *,
    stride: int = 1,
    start: float = 0.0,
    end: float | None = None,
    fps: float | None = None,
) -> FrameReader:
    """Open a source of frames.

    Args:
        source: a video file, a folder of images (in natural order), an image, a glob of images, a list of
            images (in the order given), or the number of a webcam as text.
        stride: take every ``stride``-th frame.
        start: seconds to leave out at the beginning.
        end: second to stop before; None: the end.
        fps: frames per second of images; None: 30. A video knows its own.

    Raises:
        FileNotFoundError: there is no such file, or nothing fits the glob.
        PermissionError: the file is not readable.
        ValueError: not a video, no frames, no images, or a bad stride or range.
    """
    choice = dict(stride=stride, start=start, end=end)
    if fps is not None and fps <= 0:
        raise ValueError(f"frames per second must be above 0, got {fps}")
    if not isinstance(source, (str, Path)):
        if len(source) != 1:
            return _ImageReader(_existing_images(source), name=f"{len(source)} images", fps=fps, **choice)
        source = source[0]
    path = Path(source)
    if path.is_dir():
        return _ImageReader(_images_of_folder(path), name=str(path), fps=fps, **choice)
    if path.is_file():
        if not os.access(path, os.R_OK):
            raise PermissionError(f"input {path} is not readable")
        if path.suffix.lower() in IMAGE_ENDINGS:
            return _ImageReader([path], name=str(path), fps=fps, **choice)
        return _VideoReader(path, **choice)
    if str(source).isdigit():
        return _VideoReader(int(str(source)), **choice)
    matches = sorted(map(Path, glob.glob(str(source))), key=_natural) if glob.has_magic(str(source)) else []
    if not matches:
        raise FileNotFoundError(f"input {source}: no such file or folder, and no glob that matches one")
    return _ImageReader(_existing_images(matches), name=str(source), fps=fps, **choice)


def _existing_images(sources: Sequence[str | Path]) -> list[Path]:
    paths = [Path(source) for source in sources]
    if not paths:
        raise ValueError("the list of input images is empty")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"input {path}: no such file")
        if path.suffix.lower() not in IMAGE_ENDINGS:
            known = ", ".join(IMAGE_ENDINGS)
            raise ValueError(f"input {path} is not an image ({known}); give one video at a time")
    return paths
