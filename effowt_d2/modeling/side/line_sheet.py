"""Maps laid out so that every straight line of tokens becomes the column of a matrix.

Shapes: B images, H x W tokens, G groups of c channels, n = B * c numbers per token and group.

A sheet holds the rows of a map behind each other with zeros between them. Read with a stride one longer or shorter
than a row, successive rows move by one token against each other, which puts every diagonal upright without a gather.
A diagonal near a corner is short, so the lines are cut into blocks that take only the rows their lines pass through.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

AXES = ("row", "column", "diagonal", "antidiagonal")
MIN_LINES = 32
MAX_BLOCKS = 8


def line_length(axis: str, height: int, width: int) -> int:
    """Largest number of positions that a block of lines takes: a row's columns, a column's rows, a diagonal's rows."""
    if axis == "row":
        return width
    return height if axis == "column" else min(height, width - 1 + diagonals_per_block(height, width))


def line_weight(mask: Tensor, axis: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """1 / (valid tokens on the line) at valid tokens, 0 elsewhere. (B, H, W) bool -> (B, H, W, 1)."""
    b, h, w = mask.shape
    i = torch.arange(h, device=mask.device)[:, None]
    j = torch.arange(w, device=mask.device)[None, :]
    line = {"row": i + 0 * j, "column": j + 0 * i, "diagonal": j - i + h - 1, "antidiagonal": i + j}[axis].flatten()
    valid = mask.flatten(1).to(dtype)
    count = valid.new_zeros((b, h + w - 1)).index_add_(1, line, valid)
    return (valid / count[:, line].clamp(min=1)).reshape(b, h, w, 1)


class Block(NamedTuple):
    """Lines next to each other, as a matrix inside a sheet: ``rows`` tokens long, ``lines`` wide."""

    rows: int
    lines: int
    start: int
    stride: int


def diagonals_per_block(height: int, width: int) -> int:
    """A few large blocks make few products, small ones take fewer rows."""
    return max(MIN_LINES, -(-(height + width - 1) // MAX_BLOCKS))


def sheet_margin(axes: Sequence[str], height: int, width: int) -> int:
    """Zero tokens between rows: as many as the lines of a block may stick out of the map; none without diagonals."""
    return diagonals_per_block(height, width) if set(axes) & {"diagonal", "antidiagonal"} else 0


def line_blocks(axis: str, height: int, width: int, margin: int) -> list[Block]:
    """The blocks of one direction, offsets in tokens from the start of a sheet with this margin."""
    pitch = width + margin
    if axis == "column":
        return [Block(height, width, margin, pitch)]
    count, step, blocks = height + width - 1, diagonals_per_block(height, width), []
    for first in range(0, count, step):
        last = min(first + step, count)
        if axis == "antidiagonal":
            # line i + j: row i has token j at line - i
            low, high = max(0, first - width + 1), min(height, last)
            start, stride = low * pitch + first - low, pitch - 1
        else:
            # line j - i + H - 1
            low, high = max(0, height - last), min(height, height + width - 1 - first)
            start, stride = low * pitch + first + low - (height - 1), pitch + 1
        blocks.append(Block(high - low, last - first, margin + start, stride))
    return blocks


class Sheet:
    """Some groups of a map, with ``margin`` zero tokens before, between and behind its rows.

    Args:
        like: gives the device.
        shape: (groups, H, W, B, c).
        margin: see :func:`sheet_margin`.
        dtype: of the numbers.
    """

    def __init__(self, like: Tensor, shape: torch.Size, margin: int, dtype: torch.dtype):
        groups, h, w, b, c = shape
        self.n = b * c
        pitch = w + margin
        self.data = like.new_zeros((groups, (margin + h * pitch) * self.n), dtype=dtype)
        strides = (self.data.stride(0), pitch * self.n, self.n, c, 1)
        self.cells = self.data.as_strided(shape, strides, margin * self.n)

    def load(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Fill the first groups with x (g, H, W, B, c), times weight where given. Returns the filled part."""
        cells = self.cells[: len(x)]
        return cells.copy_(x) if weight is None else torch.mul(x, weight, out=cells)

    def block(self, block: Block, groups: int) -> Tensor:
        """(groups, rows, lines * n), sharing the sheet's memory."""
        shape = (groups, block.rows, block.lines * self.n)
        return self.data.as_strided(shape, (self.data.stride(0), block.stride * self.n, 1), block.start * self.n)
