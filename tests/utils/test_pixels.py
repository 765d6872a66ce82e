"""Images of any depth become 8 bits by one rule."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from helpers.messages import raises

from effowt_d2.utils.pixels import declared_bits, signal_bits, to_uint8


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_the_top_of_the_signal_becomes_255(bits):
    image = np.array([[0, 2 ** (bits - 1), 2**bits - 1]], np.uint16)
    expected = [0, 128, 255]
    assert to_uint8(image).tolist() == [expected]
    assert signal_bits(image) == bits


def test_values_are_rounded_to_the_nearest():
    values = np.arange(65536, dtype=np.uint16)
    exact = values.astype(object) * 255
    nearest = [(2 * int(value) + 65535) // (2 * 65535) for value in exact]
    assert to_uint8(values).tolist() == nearest


def test_a_dark_image_of_eight_bits_in_sixteen_keeps_its_values():
    image = np.array([[0, 7, 200]], np.uint16)
    assert to_uint8(image).tolist() == [[0, 7, 200]]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_of_every_dtype(dtype):
    assert to_uint8(np.array([0, 1023], dtype)).tolist() == [0, 255]


def test_uint8_is_passed_through_and_bool_is_black_and_white():
    image = np.array([[3, 4]], np.uint8)
    assert to_uint8(image) is image
    assert to_uint8(image > 3).tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_0_to_1(dtype):
    assert to_uint8(np.array([0, 0.5, 1], dtype)).tolist() == [0, 128, 255]


@pytest.mark.parametrize("values", [[0.0, 1.5], [-0.1, 1.0], [0.0, np.nan], [0.0, np.inf]])
def test_floats_of_other_ranges_are_refused(values):
    with raises(ValueError, "float32", np.float32(np.max(values))):
        to_uint8(np.array(values, np.float32))


def test_other_pixels_are_refused():
    with raises(ValueError, -5):
        to_uint8(np.array([-5, 5], np.int16))
    with raises(ValueError, "complex64"):
        to_uint8(np.array([0], np.complex64))


def test_an_empty_image_stays_empty():
    assert to_uint8(np.zeros((0, 4), np.uint16)).shape == (0, 4)
    assert to_uint8(np.zeros((0, 4), np.float32)).shape == (0, 4)


def _png(image: np.ndarray, bits: bytes | None) -> bytes:
    data = cv2.imencode(".png", image)[1].tobytes()
    if bits is None:
        return data
    chunk = b"sBIT" + bits
    # right behind the header chunk
    return data[:33] + struct.pack(">I", len(bits)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize("bits, expected", [(None, None), (b"\x0c", 12), (b"\x05\x06\x05", 6), (b"", None)])
def test_bits_a_png_declares(bits, expected):
    data = _png(np.zeros((2, 2), np.uint16), bits)
    assert declared_bits(data) == expected
    # cut before the chunk, and not a PNG
    assert declared_bits(data[:20]) is None and declared_bits(b"\xff\xd8\xff") is None


def test_declared_bits_win_where_the_values_fit():
    dark = np.array([[0, 1000]], np.uint16)
    assert signal_bits(dark, 12) == 12
    assert to_uint8(dark, bits=12).tolist() == [[0, 62]]
    # scaled up to the depth of the file, as PNG asks for
    assert signal_bits(np.array([[0, 65520]], np.uint16), 12) == 16
