"""Tokens of a tower, and the map cell of each.

Shapes: B images, d channels, a grid of h x w cells, P prefix tokens, N tokens behind them.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
        rebuild: makes (B, h * w, d) of the tokens behind the prefix (B, N, d), in the order of the cells; None where
            ``cells`` is.
        parts: numbers of tokens in each of the tower's windows, which follow each other; None where ``cells`` is, or
            where the tower has no windows.
    """

    x: Tensor
    prefix: int
    grid: tuple[int, int]
    cells: Tensor | None = None
    valid: Tensor | None = None
    rebuild: Callable[[Tensor], Tensor] | None = None
    parts: tuple[int, ...] | None = None

    @property
    def patches(self) -> Tensor:
        """The tokens behind the prefix (B, N, d)."""
        return self.x[:, self.prefix :]

    def dense(self) -> Tensor:
        """A map (B, d, h, w); ``rebuild`` fills the cells that have no token."""
        patches = self.patches if self.rebuild is None else self.rebuild(self.patches)
        return patches.transpose(1, 2).reshape(len(patches), -1, *self.grid)
