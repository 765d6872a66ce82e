"""Frames from image files or arrays."""

import os
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from .frame_reader import DEFAULT_FPS, Frame, FrameReader
from .image_decoder import FileImage, count_images, images_of_file

__all__ = ["ArrayReader", "ImageReader"]


class ImageReader(FrameReader):
    """Image files in a given order; all images of those that hold several.

    Images of a GIF, APNG, WebP or AVIF file have the durations of the file, all others ``1 / fps``. The rate of a
    single such file is the mean of its own.

    Args:
        paths: the files.
        name: of the whole, for messages.
        fps: frames per second of images without times; None: 30.
        **choice: ``stride``, ``start``, ``end`` and ``stop``, see :func:`effowt_d2.video.open_frames`.
    """

    def __init__(self, paths: Sequence[Path], *, name: str, fps: float | None, **choice: Any) -> None:
        self._paths, self._step = paths, 1 / (fps or DEFAULT_FPS)
        self._folder = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        choice.update(name=name, title=paths[0].name if len(paths) == 1 else self._folder.resolve().name)
        self._counts = [count_images(path) for path in paths]
        total = sum(self._counts)
        durations = [image.seconds or 0 for image in images_of_file(paths[0])] if len(paths) == 1 and total > 1 else [0]
        if 0 in durations:
            super().__init__(fps=fps or DEFAULT_FPS, times=np.arange(total) * self._step, **choice)
            return
        ends = np.cumsum(np.array(durations))
        super().__init__(fps=len(ends) / ends[-1], times=ends - durations, **choice)
        if fps:
            self.notes.append(f"{name} has times of its own: the rate of {fps:g} frames per second is not used")

    def __iter__(self) -> Iterator[Frame]:
        index, begin, steps = 0, 0.0, 0
        for path, count in zip(self._paths, self._counts):
            images = images_of_file(path)
            for number in range(count):
                time = begin + steps * self._step
                if time >= self._end or self._stop():
                    return
                wanted = self._wanted(index, time)
                # an image of several has to be passed, one alone is only opened if it's wanted
                image = (
                    next(images, FileImage(None, reason="it ends early")) if wanted or count > 1 else FileImage(None)
                )
                if wanted and image.image is not None:
                    frame_name = path.stem if count == 1 else f"{path.stem}:{number:06d}"
                    file = path.absolute().relative_to(self._folder).as_posix()
                    yield self._frame(index, image.image, frame_name, time, file)
                elif wanted:
                    self._skip(path, image.reason)
                index += 1
                # whole steps are multiplied: a sum of many would drift
                begin, steps = (begin + image.seconds, steps) if image.seconds else (begin, steps + 1)

    def _skip(self, path: Path, reason: str) -> None:
        self.skipped += 1
        if self.skipped == 1:
            self.notes.append(f"{path} can't be decoded: {reason}")


class ArrayReader(FrameReader):
    """Frames that a program makes or reads itself.

    Args:
        arrays: (H, W, 3) BGR uint8 each; they are checked as they come.
        fps: frames per second; None: 30.
        **choice: ``stride``, ``start``, ``end`` and ``stop``, see :func:`effowt_d2.video.open_frames`.

    Raises:
        ValueError: while iterating, at an array of another shape or type.
    """

    def __init__(self, arrays: Iterable[Any], *, fps: float | None, **choice: Any) -> None:
        fps = fps or DEFAULT_FPS
        times = np.arange(len(arrays)) / fps if isinstance(arrays, Sized) else None
        super().__init__(name="frames", fps=fps, times=times, **choice)
        self._arrays = arrays

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._arrays):
            time = index / self.fps
            if time >= self._end or self._stop():
                return
            if self._wanted(index, time):
                yield self._frame(index, _checked(image, index), f"{index:06d}", time)


def _checked(image: Any, index: int) -> np.ndarray:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"frame {index} is a {type(image).__name__}, expected a (H, W, 3) BGR uint8 array")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"frame {index} has shape {image.shape} and type {image.dtype}, expected (H, W, 3) uint8")
    return image
