"""Small text files of the datasets; errors name the sequence, the file and the line."""

import configparser
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from effowt_d2.formats import DatasetError
from effowt_d2.utils.boxes import xywh_to_xyxy
from effowt_d2.utils.text import read_text
from effowt_d2.video.image_files import IMAGE_EXTENSIONS, natural_order

from .frame_names import compact

__all__ = ["frame_files", "ini_size", "optional_text", "read_boxes", "read_flags", "sequence_names"]


def read_boxes(path: Path, sequence: str, *, first_pixel: int = 0) -> np.ndarray:
    """The boxes (N, 4) of a file with ``x,y,width,height`` a line, as x0, y0, x1, y1.

    Numbers are set apart by commas, tabs, semicolons or spaces; NaN is a number.

    Args:
        path: the file.
        sequence: its name for messages.
        first_pixel: coordinate of the first pixel, which is taken off x and y.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: a line does not hold four numbers.
    """
    rows = [_four(line, number, path, sequence) for number, line in enumerate(_lines(path, sequence), 1)]
    boxes = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return xywh_to_xyxy(boxes - np.array([first_pixel, first_pixel, 0, 0]))


def _four(line: str, number: int, path: Path, sequence: str) -> list[float]:
    try:
        values = [float(part) for part in re.split(r"[,;\s]+", line.strip().strip(","))]
    except ValueError:
        values = []
    if len(values) != 4:
        raise DatasetError(f"sequence '{sequence}': {path}: line {number}: expected x,y,width,height, got {line!r}")
    return values


def read_flags(path: Path, sequence: str) -> np.ndarray | None:
    """The whole numbers of a file, one a line or all in one; None where there is no such file.

    Raises:
        DatasetError: something else is in there.
    """
    if not path.is_file():
        return None
    parts = re.split(r"[,;\s]+", read_text(path).strip().strip(","))
    try:
        return np.array([int(float(part)) for part in parts if part])
    except ValueError:
        raise DatasetError(f"sequence '{sequence}': {path}: expected whole numbers, got {parts[:3]} ...") from None


def frame_files(folder: Path, sequence: str) -> Sequence[str]:
    """Paths of the images in a folder, in natural order.

    Raises:
        FileNotFoundError: there is no such folder.
        DatasetError: there are no images in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"sequence '{sequence}': the image folder {folder} is missing")
    images = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_EXTENSIONS and path.name[0] != ".")
    found = [str(path) for path in sorted(images, key=natural_order)]
    if not found:
        raise DatasetError(f"sequence '{sequence}': the image folder {folder} holds no images")
    return compact(found)


def sequence_names(file: Path) -> list[str]:
    """The lines of a list of sequences, without empty ones.

    Raises:
        FileNotFoundError: there is no such file.
        DatasetError: it names no sequence.
    """
    if not file.is_file():
        raise FileNotFoundError(f"the list of sequences {file} is missing")
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names:
        raise DatasetError(f"{file} names no sequence")
    return names


def optional_text(path: Path) -> str:
    """The text of a file without the space around it; "" where there is no such file."""
    return read_text(path).strip() if path.is_file() else ""


def ini_size(path: Path, sequence: str) -> tuple[int, int] | None:
    """(height, width) of ``resolution: (width, height)`` in the section METAINFO; None if missing.

    Raises:
        DatasetError: the file or the entry is malformed.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(optional_text(path) or "[METAINFO]")
        text = parser.get("METAINFO", "resolution", fallback="")
        width, height = (int(part) for part in text.strip("() ").split(",")) if text else (0, 0)
    except (configparser.Error, ValueError) as error:
        raise DatasetError(f"sequence '{sequence}': {path}: {' '.join(str(error).split())}") from None
    return (height, width) if text else None


def _lines(path: Path, sequence: str) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"sequence '{sequence}': the annotation file {path} is missing")
    return [line for line in read_text(path).splitlines() if line.strip()]
