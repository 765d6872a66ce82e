"""Which files are images, and in which order."""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["IMAGE_EXTENSIONS", "existing_images", "images_of_folder", "is_image", "natural_order"]

# what only an optional library reads
_HEIC_EXTENSIONS = (".heic", ".heif")

IMAGE_EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    *_HEIC_EXTENSIONS,
)

# what Windows puts into folders; what others put there begins with a dot
_SYSTEM_FILES = {"desktop.ini", "ehthumbs.db", "thumbs.db"}


def is_image(path: Path) -> bool:
    """Whether the file extension is one of an image."""
    return path.suffix.lower() in IMAGE_EXTENSIONS


def _of_a_system(path: Path) -> bool:
    return path.name.startswith("._") or path.name == ".DS_Store" or path.name.lower() in _SYSTEM_FILES


def natural_order(path: Path) -> tuple:
    """Sort key that puts frame 2 before frame 10; digits of all scripts count, numbers may be of any length."""
    # an odd place holds a run of digits
    parts = re.split(r"(\d+)", str(path.with_suffix("")))
    key = [_number(part) if place % 2 else (0, 0, part) for place, part in enumerate(parts)]
    return (*key, (0, 0, path.suffix)), str(path)


def _number(digits: str) -> tuple:
    # the length first: Python doesn't convert thousands of digits to an integer
    ascii_digits = "".join(str(int(digit)) for digit in digits).lstrip("0")
    return (1, len(ascii_digits), ascii_digits)


def images_of_folder(folder: Path) -> list[Path]:
    """The images in a folder, in natural order, without hidden files.

    Raises:
        ValueError: there are none, or a library that reads them is missing.
    """
    found = [path for path in folder.iterdir() if is_image(path) and not path.name.startswith(".") and path.is_file()]
    if not found:
        raise ValueError(f"folder {folder} holds no images ({', '.join(IMAGE_EXTENSIONS)})")
    return _readable(sorted(found, key=natural_order))


def existing_images(sources: Sequence[str | Path]) -> list[Path]:
    """Paths of images that are there, in the order given, without files that a system put beside them.

    Raises:
        FileNotFoundError: one is not.
        ValueError: one is no image, there are none, or a library that reads them is missing.
    """
    paths = [path for path in map(Path, sources) if not _of_a_system(path)]
    if not paths:
        raise ValueError("the list of input images is empty")
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"input {path}: no such file")
        if not is_image(path):
            known = ", ".join(IMAGE_EXTENSIONS)
            raise ValueError(f"input {path} is not an image ({known}); give one video at a time")
    return _readable(paths)


def _readable(paths: list[Path]) -> list[Path]:
    heic = next((path for path in paths if path.suffix.lower() in _HEIC_EXTENSIONS), None)
    if heic and importlib.util.find_spec("pillow_heif") is None:
        raise ValueError(f"input {heic}: HEIC images need the package pillow-heif, which is not installed")
    return paths
