"""Tokens on their way through a tower: what they are, and which cell of the map each stands for.

Shapes: B images, d channels, a grid of h x w cells, P prefix tokens, N tokens behind them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["NO_CELL", "Tokens"]

NO_CELL = -1
"""Cell of a token that stands for none, such as one that many were fused into."""


@dataclass(frozen=True)
class Tokens:
    """A sequence of tokens.

    Attributes:
        x: (B, P + N, d).
        prefix: P, tokens in front that belong to no cell and are always attended to: a class token, register tokens,
            another image's tokens.
        grid: h, w.
        cells: (B, N) int64, the cell row * w + column of each token behind the prefix, or ``NO_CELL``; None where
            there is one token for each cell, in order.
        valid: (B, N) bool, true for tokens to attend to; None where all are.
        held: (B, h * w, d), features of the cells that have no token; None stands for zeros.
    """

    x: Tensor
    prefix: int
    grid: tuple[int, int]
    cells: Tensor | None = None
    valid: Tensor | None = None
    held: Tensor | None = None

    @property
    def patches(self) -> Tensor:
        """The tokens behind the prefix (B, N, d)."""
        return self.x[:, self.prefix :]

    def dense(self) -> Tensor:
        """A map (B, d, h, w): each cell has its token, or what is held for it."""
        patches = self.patches
        if self.cells is not None:
            patches = self._scattered(patches, self.cells)
        return patches.transpose(1, 2).reshape(len(patches), -1, *self.grid)

    def _scattered(self, patches: Tensor, cells: Tensor) -> Tensor:
        b, _, channels = patches.shape
        count = self.grid[0] * self.grid[1]
        held = patches.new_zeros(b, count, channels) if self.held is None else self.held.to(patches.dtype)
        # tokens of no cell go to a spare one behind the last
        places = torch.where(cells == NO_CELL, count, cells)[..., None].expand_as(patches)
        return F.pad(held, (0, 0, 0, 1)).scatter(1, places, patches)[:, :count]
