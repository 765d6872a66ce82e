"""All images of one file: one of most formats, several of TIFF, GIF, APNG, WebP and AVIF.

Images are BGR uint8 arrays (H, W, 3), rotated by EXIF. Deeper ones are scaled by the rule of
:mod:`effowt_d2.utils.pixels`. An image larger than Pillow's limit of 179 million pixels is not decoded: a few bytes can
claim any size.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from effowt_d2.utils.pixels import declared_bits, signal_bits, to_uint8

from .jpeg import is_whole_jpeg
from .orientation import EXIF_TURNS, UPRIGHT, turned
from .quiet import quiet_opencv

__all__ = ["FileImage", "count_images", "images_of_file"]

_MAX_PIXELS = 2 * 89_478_485

# those that Pillow reads best; OpenCV reads the others faster and with all their bits
_BY_PILLOW = {"AVIF", "GIF", "HEIF", "WEBP"}

# browsers show frames of 10 ms and less for 100 ms, as such files are made for
_SHORTEST, _INSTEAD = 0.0101, 0.1

_TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_SUBFILE, _TIFF_WIDTH, _TIFF_HEIGHT, _ORIENTATION = 254, 256, 257, 274

# what damaged files make Pillow raise; a struct.error or KeyError among others
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, ArithmeticError, TypeError, MemoryError),
    *(Image.DecompressionBombError, cv2.error),
)


class FileImage(NamedTuple):
    """The image, or None and the reason; and the seconds it's shown for, None where the format has no times."""

    image: np.ndarray | None
    seconds: float | None = None
    reason: str = ""


def count_images(path: Path) -> int:
    """Images that the file holds, 1 where it's damaged; no pixel is decoded."""
    extension = path.suffix.lower()
    if extension in (".bmp", ".jfif", ".jpeg", ".jpg", ".pgm", ".ppm"):
        return 1
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
        if extension == ".png" and b"acTL" not in head:
            return 1
        if head.startswith(_TIFF_MAGICS):
            return max(1, len(_tiff_pages(path)))
        with _opened(path) as image:
            return getattr(image, "n_frames", 1)
    except _DAMAGE:
        return 1


def images_of_file(path: Path) -> Iterator[FileImage]:
    """The images of a file, one at a time; whatever is wrong with it is the reason of one without an image."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
        if head.startswith(_TIFF_MAGICS):
            yield from _read_tiff(path)
            return
        with _opened(path) as image:
            many = getattr(image, "n_frames", 1) > 1 and image.format != "MPO"
            if many or image.format in _BY_PILLOW:
                yield from _read_by_pillow(image, many)
                return
            turn = EXIF_TURNS.get(_exif_orientation(image), UPRIGHT)
        yield FileImage(turned(_decode(path.read_bytes()), turn))
    except _DAMAGE as error:
        yield FileImage(None, reason=_reason(error))


def _reason(error: Exception) -> str:
    # Pillow knows no file by a name it wasn't given, and its text holds the whole path
    return "it is no image, or damaged" if isinstance(error, UnidentifiedImageError) else str(error)


def _opened(path: Path) -> Image.Image:
    if path.suffix.lower() in (".heic", ".heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    with warnings.catch_warnings():
        # one between once and twice the limit is decoded
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path)
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
    return image


def _exif_orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1


def _decode(data: bytes) -> np.ndarray:
    """The image as the file stores it; ValueError if it's damaged."""
    if data[:2] == b"\xff\xd8":
        if not is_whole_jpeg(data):
            raise ValueError("it is cut short")
        # OpenCV insists on an end marker, even where it needs nothing behind the last scan
        data += b"\xff\xd9"
    with quiet_opencv():
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise ValueError("it is damaged")
    return _as_bgr(decoded, declared_bits(data))


def _as_bgr(image: np.ndarray, declared: int | None = None) -> np.ndarray:
    """BGR uint8 of grey, BGR or BGRA values of any depth; alpha is dropped."""
    if image.ndim == 3:
        image = image[:, :, 0] if image.shape[2] < 3 else image[:, :, :3]
    bits = signal_bits(image, declared) if image.dtype.kind in "ui" else None
    image = to_uint8(image, bits=bits)
    return np.ascontiguousarray(image) if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)


def _read_by_pillow(image: Image.Image, many: bool) -> Iterator[FileImage]:
    for number in range(getattr(image, "n_frames", 1)):
        try:
            image.seek(number)
            rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            # known once the image is decoded
            shown = image.info.get("duration", 0) / 1000
            found = FileImage(np.ascontiguousarray(rgb[:, :, ::-1]), shown if shown > _SHORTEST else _INSTEAD)
        except _DAMAGE as error:
            found = FileImage(None, _INSTEAD, _reason(error))
        yield found if many else found._replace(seconds=None)


def _tiff_pages(path: Path) -> list[tuple[int, int]]:
    """Place of each page among the directories, and its pixels; without reduced copies and masks."""
    pages, seen = [], set()
    with open(path, "rb") as file:
        header = file.read(8)
        big = header[2:3] == b"+" or header[3:4] == b"+"
        directory = TiffImagePlugin.ImageFileDirectory_v2(header + file.read(8) if big else header)
        place = 0
        # a damaged file may lead in circles
        while directory.next and directory.next not in seen:
            seen.add(directory.next)
            file.seek(directory.next)
            directory.load(file)
            if not directory.get(_TIFF_SUBFILE, 0) & 0b101:
                pixels = directory.get(_TIFF_WIDTH, 0) * directory.get(_TIFF_HEIGHT, 0)
                pages.append((place, pixels))
            place += 1
    return pages


def _read_tiff(path: Path) -> Iterator[FileImage]:
    # a stack may be larger than the memory
    data = np.memmap(path, np.uint8, mode="r")
    for place, pixels in _tiff_pages(path):
        try:
            if not 0 < pixels <= _MAX_PIXELS:
                raise ValueError(f"page {place} claims {pixels} pixels")
            yield FileImage(_decode_page(data, place))
        except _DAMAGE as error:
            yield FileImage(None, reason=_reason(error))


def _decode_page(data: np.ndarray, place: int) -> np.ndarray:
    # OpenCV turns the pages of a TIFF itself
    with quiet_opencv():
        found, pages = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(place, place + 1))
    if not found or not pages:
        raise ValueError(f"page {place} is damaged")
    return _as_bgr(pages[0])
