"""Images rotated and mirrored as their file specifies.

All eight ways are a transposition or none, then rows and columns in reverse order or not.
"""

import struct
from typing import NamedTuple

import numpy as np

__all__ = ["EXIF_TURNS", "UPRIGHT", "Turn", "turn_of_matrix", "turned"]


class Turn(NamedTuple):
    """Operations on an image, in this order."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


UPRIGHT = Turn()

EXIF_TURNS = {
    1: UPRIGHT,
    2: Turn(flip_columns=True),
    3: Turn(flip_rows=True, flip_columns=True),
    4: Turn(flip_rows=True),
    5: Turn(transpose=True),
    6: Turn(transpose=True, flip_columns=True),
    7: Turn(transpose=True, flip_rows=True, flip_columns=True),
    8: Turn(transpose=True, flip_rows=True),
}
"""By the value of EXIF's Orientation."""


def turn_of_matrix(matrix: bytes) -> Turn:
    """The turn nearest to a display matrix, as mp4 and others hold it.

    Args:
        matrix: nine 32-bit integers in the byte order of the machine, a b u c d v x y w. The point (x, y) of the
            image is shown at (a x + c y, b x + d y).
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Turn(False, d < 0, a < 0)
    return Turn(True, b < 0, c < 0)


def turned(image: np.ndarray, turn: Turn) -> np.ndarray:
    """The image (H, W, ...) rotated: a contiguous array, the same one where there is nothing to do."""
    if turn == UPRIGHT:
        return image
    if turn.transpose:
        image = image.swapaxes(0, 1)
    rows, columns = (slice(None, None, -1 if flip else None) for flip in (turn.flip_rows, turn.flip_columns))
    return np.ascontiguousarray(image[rows, columns])
