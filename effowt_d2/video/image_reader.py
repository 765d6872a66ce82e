"""Frames that are images: files in a given order, or arrays as they come."""

import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .frame_reader import DEFAULT_FPS, Frame, FrameReader

__all__ = ["ArrayReader", "IMAGE_ENDINGS", "ImageReader", "existing_images", "images_of_folder", "natural_order"]

IMAGE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImageReader(FrameReader):
    """Image files in a given order.

    Args:
        paths: the files.
        name: of the whole, for messages.
        fps: frames per second; None: 30.
        **choice: ``stride``, ``start`` and ``end``, see :func:`effowt_d2.video.open_frames`.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, fps: float | None, **choice: Any) -> None:
        super().__init__(name=name, fps=fps or DEFAULT_FPS, total=len(paths), **choice)
        self._paths = paths

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self._paths):
            time = index / self.fps
            if time >= self._end:
                return
            if not self._wanted(index, time):
                continue
            image = _read_image(path)
            if image is None:
                self.skipped += 1
            else:
                yield Frame(index, image, path.stem, time)


class ArrayReader(FrameReader):
    """Frames that a program makes or reads itself.

    Args:
        arrays: (H, W, 3) BGR uint8 each; they are checked as they come.
        fps: frames per second; None: 30.
        **choice: ``stride``, ``start`` and ``end``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        ValueError: while iterating, at an array of another shape or type.
    """

    def __init__(self, arrays: Iterable[Any], *, fps: float | None, **choice: Any) -> None:
        total = len(arrays) if isinstance(arrays, Sized) else None
        super().__init__(name="frames", fps=fps or DEFAULT_FPS, total=total, **choice)
        self._arrays = arrays

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._arrays):
            time = index / self.fps
            if time >= self._end:
                return
            if self._wanted(index, time):
                yield Frame(index, _checked(image, index), f"{index:06d}", time)


def _checked(image: Any, index: int) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"frame {index} is a {type(image).__name__}, expected a (H, W, 3) BGR uint8 array")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"frame {index} has shape {image.shape} and type {image.dtype}, expected (H, W, 3) uint8")
    return image


def _read_image(path: Path) -> np.ndarray | None:
    """The image, or None if the file is not a whole one."""
    data = path.read_bytes()
    # a JPEG cut short decodes to grey below the cut; its end marker after the last scan tells
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None


def natural_order(path: Path) -> list:
    """Sort key that puts frame 2 before frame 10."""
    parts = re.split(r"(\d+)", str(path.with_suffix("")))
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in (*parts, path.suffix)]


def images_of_folder(folder: Path) -> list[Path]:
    """The images in a folder, in natural order; ValueError if there are none."""
    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS), key=natural_order)
    if not paths:
        raise ValueError(f"folder {folder} holds no images ({', '.join(IMAGE_ENDINGS)})")
    return paths


def existing_images(sources: Sequence[str | Path]) -> list[Path]:
    """Paths of images that are there.

    Raises:
        FileNotFoundError: one is not.
        ValueError: one is no image, or there are none.
    """
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
