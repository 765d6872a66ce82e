"""Frames as a folder of JPEG files."""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.outputs import check_folder

__all__ = ["FolderWriter", "frame_file", "frames_in"]


def frame_file(index: int) -> str:
    """Name of the file of a frame."""
    return f"{index:06d}.jpg"


def frames_in(folder: Path) -> list[Path]:
    """The frames that a folder holds from an earlier run."""
    if not folder.is_dir():
        return []
    return sorted(folder / name for name in os.listdir(folder) if re.fullmatch(r"\d{6,}\.jpg", name))


class FolderWriter:
    """A folder of JPEG frames named by their index; every file appears whole.

    Args:
        path: the folder, made if it's missing.
        overwrite: whether frames of an earlier run are removed, once the first frame comes.

    Attributes:
        notes: what the user should know about the folder; nothing so far.

    Raises:
        FileExistsError: it holds frames already, and ``overwrite`` is false; those of two runs would be mixed.
        OSError: no files can be written there.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_folder(path)
        old = frames_in(path)
        if old and not overwrite:
            raise FileExistsError(
                f"output folder {path} holds frames already ({old[0].name}): give another, or empty it"
            )
        self.path, self.frames, self.notes = path, 0, list[str]()

    def write(self, image: np.ndarray, index: int, time: float) -> None:
        """Write one frame as ``<index>.jpg``; images have no ``time``.

        Raises:
            OSError: the disk is full; no part of the frame is left then.
        """
        encoded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not encoded:
            raise ValueError(f"frame {index} of shape {image.shape} can't be written as a JPEG")
        if not self.frames:
            for old in frames_in(self.path):
                old.unlink()
        path = self.path / frame_file(index)
        write_atomically(path, lambda file: file.write(data.tobytes()), durable=False)
        self.frames += 1

    def close(self) -> None:
        """Nothing is left open."""

    def __enter__(self) -> "FolderWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
