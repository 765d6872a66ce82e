"""Pixel values of any depth as 8 bits, by one rule for training images and video frames.

- 8 bits stay as they are; booleans become 0 and 255.
- Deeper integers are divided by the top of their range, ``2**bits - 1``. The file declares ``bits`` (a PNG's sBIT);
  without a declaration it is the smallest range that holds the image's maximum, so a 12-bit signal in a 16-bit file is
  divided by 4095.
- Floats must lie in 0 to 1.
"""

import struct

import numpy as np

__all__ = ["declared_bits", "signal_bits", "to_uint8"]

_PNG = b"\x89PNG\r\n\x1a\n"


def to_uint8(image: np.ndarray, *, bits: int | None = None) -> np.ndarray:
    """An image of any depth as uint8.

    Args:
        image: any shape; bool, integers that are not negative, or floats in 0 to 1.
        bits: depth of the signal; integers above 8 bits only. None: :func:`signal_bits`.

    Returns:
        uint8 of the same shape; the image itself where it is uint8 already.

    Raises:
        ValueError: another dtype, negative integers, or floats outside 0 to 1 (NaN included); the text has the range.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"pixels are bool, integers or floats, got {image.dtype}")
    low, high = (image.min(), image.max()) if image.size else (0, 0)
    if image.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise ValueError(f"float pixels must be in 0 to 1, got {image.dtype} from {low} to {high}")
        top = 1
    else:
        if low < 0:
            raise ValueError(f"integer pixels must not be negative, got {image.dtype} from {low} to {high}")
        top = 2 ** (signal_bits(image) if bits is None else bits) - 1
    return np.rint(np.minimum(image.astype(np.float64) / top, 1) * 255).astype(np.uint8)


def signal_bits(image: np.ndarray, declared: int | None = None) -> int:
    """Depth of the signal in an integer image, at least 8.

    Args:
        image: integers, none negative.
        declared: bits declared by the file; None: not declared. PNG asks for values scaled up to the depth of the file, but many
            cameras store them as they are: values above the declared range use the dtype's whole range.
    """
    if image.dtype.itemsize == 1:
        return 8
    found = max(8, int(image.max()).bit_length()) if image.size else 8
    if declared is None:
        return found
    return max(8, declared) if found <= declared else np.iinfo(image.dtype).bits


def declared_bits(data: bytes) -> int | None:
    """Significant bits that a PNG file declares (sBIT, the deepest channel); None if not declared.

    Args:
        data: the file, or its start.
    """
    if not data.startswith(_PNG):
        return None
    place = len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"sBIT":
            return max(data[place + 8 : place + 8 + length], default=0) or None
        if kind == b"IDAT":
            return None
        place += 12 + length
    return None
