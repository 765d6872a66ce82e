"""Write frames to a video file or to a folder. Frames are BGR uint8 arrays (H, W, 3)."""

import errno
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np

from effowt_d2.utils.files import partial_name, publish, write_atomically

from .outputs import check_file, check_folder

__all__ = ["FolderWriter", "VIDEO_CODECS", "VideoWriter", "open_writer"]

# codecs per file ending, the preferred one first; a build of OpenCV may lack some
VIDEO_CODECS = {
    ".mp4": ("avc1", "mp4v"),
    ".webm": ("VP80", "VP90"),  # VP8 plays in every browser and encodes four times faster
    ".mkv": ("avc1", "mp4v"),
    ".avi": ("MJPG",),
    ".mov": ("avc1", "mp4v"),
}


# libvpx aborts the process on frames of a few pixels
_SMALLEST_SIDE = 16

# bytes that must be free on the disk: an encoder doesn't report failed writes, and without room for its index at the
# end a file of many formats can't be read at all
_RESERVE = 16 << 20


class VideoWriter:
    """A video file of one frame size, that of the first frame; others are scaled to fit into it.

    The file appears under its name on ``close`` only, then whole. Sides are made even and at least 16 pixels,
    as encoders ask for, by repeating the last row and column.

    Args:
        path: where to; the ending decides the format.
        fps: frames per second.

    Raises:
        ValueError: unknown ending, or fps not above 0.
        OSError: the file can't be written there.
    """

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() not in VIDEO_CODECS:
            known = ", ".join(VIDEO_CODECS)
            raise ValueError(f"output {path}: unknown ending {path.suffix!r}; known: {known}")
        if fps <= 0:
            raise ValueError(f"output {path}: frames per second must be above 0, got {fps}")
        check_file(path)
        self.path, self.fps, self.frames = path, fps, 0
        self._partial = partial_name(path)
        self._writer: cv2.VideoWriter | None = None
        self._first = self._size = (0, 0)

    def write(self, image: np.ndarray, index: int) -> None:
        """Append a frame; ``index`` is not used, a video has no gaps.

        Raises:
            OSError: the disk is nearly full. What was written so far becomes a whole file on ``close``.
        """
        free = shutil.disk_usage(self.path.parent).free
        if free < _RESERVE:
            kept = f"the video ends after {self.frames} frames"
            raise OSError(
                errno.ENOSPC,
                f"only {free >> 20} MiB left on the disk, {_RESERVE >> 20} are needed; {kept}",
                str(self.path),
            )
        if self._writer is None:
            height, width = image.shape[:2]
            self._first = (width, height)
            self._size = (_even(width), _even(height))
            self._writer = _open_encoder(self._partial, self.fps, self._size)
        self._writer.write(_fit(image, self._first, self._size))
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; without frames there is no file.

        Raises:
            OSError: the file on disk lacks frames, e.g. because the disk is full. It stays as ``.partial-*``.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        # the encoder doesn't report failed writes, so the finished file is asked; some round its length
        check = cv2.VideoCapture(str(self._partial))
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found < 0.99 * self.frames - 1:
            raise OSError(f"{self._partial} holds {max(0, found)} of {self.frames} frames; is the disk full?")
        publish(self._partial, self.path)

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FolderWriter:
    """A folder of JPEG frames named by their index; every file appears whole.

    Args:
        path: the folder, made if it's missing.

    Raises:
        FileExistsError: it holds frames already; those of two runs would be mixed.
        OSError: no files can be written there.
    """

    def __init__(self, path: Path) -> None:
        check_folder(path)
        old = next((name for name in os.listdir(path) if re.fullmatch(r"\d{6,}\.jpg", name)), None)
        if old:
            raise FileExistsError(f"output folder {path} holds frames already ({old}): give another, or empty it")
        self.path, self.frames = path, 0

    def write(self, image: np.ndarray, index: int) -> None:
        """Write one frame as ``<index>.jpg``.

        Raises:
            OSError: the disk is full; no part of the frame is left then.
        """
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not encoded:
            raise ValueError(f"frame {index} of shape {image.shape} can't be written as a JPEG")
        path = self.path / f"{index:06d}.jpg"
        write_atomically(path, lambda file: file.write(data.tobytes()), durable=False)
        self.frames += 1

    def close(self) -> None:
        """Nothing is left open."""

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_writer(path: str | Path, fps: float) -> VideoWriter | FolderWriter:
    """A writer for a video file, or for a folder where ``path`` is one or has no ending.

    Raises:
        ValueError: unknown ending.
        OSError: nothing can be written there, or the folder holds frames already.
    """
    path = Path(path)
    if path.is_dir() or not path.suffix:
        return FolderWriter(path)
    return VideoWriter(path, fps)


def _even(side: int) -> int:
    """The side of a video, of which encoders want an even number of pixels, and not too few."""
    return max(_SMALLEST_SIDE, side + side % 2)


def _open_encoder(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    codecs = VIDEO_CODECS[path.suffix.lower()]
    level = cv2.utils.logging.getLogLevel()
    # a codec this build lacks is an ordinary case, not an error to print
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        for codec in codecs:
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
            if writer.isOpened():
                return writer
            writer.release()
            path.unlink(missing_ok=True)
    finally:
        cv2.utils.logging.setLogLevel(level)
    tried = ", ".join(codecs)
    raise OSError(f"this build of OpenCV can't encode {path.suffix} at {size[0]}x{size[1]} (tried {tried})")


def _fit(image: np.ndarray, first: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """An image scaled to the size of the first frame and filled up to the video's; both (width, height)."""
    height, width = image.shape[:2]
    if (width, height) != first:
        scale = min(first[0] / width, first[1] / height)
        new = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = cv2.copyMakeBorder(image, 0, first[1] - new[1], 0, first[0] - new[0], cv2.BORDER_CONSTANT)
    if first != size:
        below, right = size[1] - first[1], size[0] - first[0]
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return image
