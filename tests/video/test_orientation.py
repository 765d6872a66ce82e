"""The eight orientations of an image, and square pixels."""

import struct
from fractions import Fraction

import numpy as np
import pytest

from effowt_d2.video.frame_converter import square_size
from effowt_d2.video.orientation import turn_of_matrix, turned

IMAGE = np.arange(6).reshape(2, 3)
SHOWN = {
    # a, b, c, d: the point (x, y) is shown at (a x + c y, b x + d y)
    (1, 0, 0, 1): [[0, 1, 2], [3, 4, 5]],
    (-1, 0, 0, 1): [[2, 1, 0], [5, 4, 3]],
    (1, 0, 0, -1): [[3, 4, 5], [0, 1, 2]],
    (-1, 0, 0, -1): [[5, 4, 3], [2, 1, 0]],
    (0, 1, 1, 0): [[0, 3], [1, 4], [2, 5]],
    (0, 1, -1, 0): [[3, 0], [4, 1], [5, 2]],
    (0, -1, 1, 0): [[2, 5], [1, 4], [0, 3]],
    (0, -1, -1, 0): [[5, 2], [4, 1], [3, 0]],
}


@pytest.mark.parametrize("entries", SHOWN)
def test_a_display_matrix(entries):
    a, b, c, d = (entry << 16 for entry in entries)
    matrix = struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    shown = turned(IMAGE, turn_of_matrix(matrix))
    assert shown.tolist() == SHOWN[entries] and shown.flags.c_contiguous


@pytest.mark.parametrize(
    "shape, size",
    [(None, (64, 48)), (Fraction(1), (64, 48)), (Fraction(4, 3), (85, 48)), (Fraction(3, 4), (64, 64))],
)
def test_pixels_become_square_and_no_side_smaller(shape, size):
    assert square_size(64, 48, shape) == size


@pytest.mark.parametrize("shape", [Fraction(0), Fraction(1000), Fraction(1, 1000)])
def test_absurd_pixel_shapes_are_not_believed(shape):
    assert square_size(64, 48, shape) == (64, 48)
