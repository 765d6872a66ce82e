"""Reading the image of a record, of any bit depth, as 8-bit pixels; writing 8-bit images."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from detectron2.data import detection_utils as utils
from detectron2.utils.file_io import PathManager
from PIL import Image, ImageOps

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.pixels import declared_bits, signal_bits, to_uint8

__all__ = ["ImageReadError", "read_record_image", "write_image"]


class ImageReadError(OSError):
    """An image file is missing, damaged, or different from its record."""


def read_record_image(record: dict, image_format: str) -> np.ndarray:
    """Read the image of a dataset record; fills in the record's ``height`` and ``width`` where they lack.

    Integers deeper than 8 bits and floats become 8 bits by the rule of :mod:`effowt_d2.utils.pixels`.

    Args:
        record: has ``file_name``, and may have ``height`` and ``width``, which are checked.
        image_format: a format of ``detectron2.data.detection_utils.read_image``.

    Returns:
        (H, W, C) uint8.

    Raises:
        ImageReadError: names the file and what is wrong with it.
    """
    name = record["file_name"]
    try:
        image = _read(name, image_format)
        utils.check_image_size(record, image)
    except FileNotFoundError:
        raise ImageReadError(f"image {name}: no such file") from None
    # a damaged file makes Pillow raise any of these, depending on its format and on where it breaks
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, utils.SizeMismatchError) as error:
        raise ImageReadError(f"image {name} cannot be used: {error}") from error
    return image


def write_image(path: Path, image: np.ndarray, parameters: Sequence[int] = ()) -> None:
    """Write an image in the format of the file's extension.

    Args:
        path: the file; its folder must exist.
        image: (H, W, 3) uint8 BGR.
        parameters: of OpenCV's encoder: flag, value, flag, ...

    Raises:
        OSError: the file could not be written, :class:`~effowt_d2.utils.files.DiskFullError` where the disk is full.
    """
    # cv2.imwrite reports some images that were cut off as written
    data = cv2.imencode(path.suffix, image, list(parameters))[1]
    write_atomically(path, lambda stream: stream.write(data.tobytes()), durable=False)


def _read(name: str, image_format: str) -> np.ndarray:
    with PathManager.open(name, "rb") as file, Image.open(file) as image:
        if not _is_deep(image):
            return utils.read_image(name, format=image_format)
        file.seek(0)
        return utils.convert_PIL_to_numpy(_as_8_bits(file.read()), image_format)


def _is_deep(image: Image.Image) -> bool:
    """Whether a file holds more than 8 bits a channel, which Pillow would cut off or saturate."""
    return image.mode.startswith(("I", "F")) or any(";16" in str(tile) for tile in image.tile)


def _as_8_bits(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as file:
        image = ImageOps.exif_transpose(file)
        orientation = file.getexif().get(0x0112, 1)
        if image.mode.startswith(("I", "F")):
            pixels = np.asarray(image)
        else:
            pixels = _colours(data)
            if orientation != 1:
                raise ValueError("16-bit colour with an EXIF orientation is not supported; turn the pixels instead")
    bits = signal_bits(pixels, declared_bits(data)) if pixels.dtype.kind in "iu" and pixels.min() >= 0 else None
    return Image.fromarray(to_uint8(pixels, bits=bits))


def _colours(data: bytes) -> np.ndarray:
    """(H, W, 3) RGB pixels of any depth, without alpha."""
    pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its 16-bit pixels cannot be decoded")
    return pixels if pixels.ndim == 2 else pixels[:, :, 2::-1]
