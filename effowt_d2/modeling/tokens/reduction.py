"""Token reduction as a companion of a tower: some blocks remove tokens between their halves.

Shapes: B images, d channels, a map of h x w cells, L tokens behind the prefix.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from effowt_d2.modeling.layers.groups import as_groups
from effowt_d2.modeling.tower.hooks import BlockHook, Reduction
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument

from .rebuild import CellMap
from .stages import check_window, keep_by_block
from .step import Step
from .windows import windows_of_map, windows_within

__all__ = ["ReductionPass", "TokenReduction"]


class TokenReduction(nn.Module):
    """Base of the reductions.

    Between the attention and the MLP of some blocks, tokens are taken out. Cells that lost their token hold the value
    they had there, so that every tap is a whole map. A rate of 1 leaves the tower as it is.

    Args:
        tower: it will run on fewer tokens once this is one of its companions.
        blocks: numbers of the blocks, ascending; empty for three that cut the depth in four.
        keep_rates: fraction of the tokens that each keeps, one for all or one for each.
        window: side in tokens of the windows that each keep that fraction; 0 for the tower's own windows, or the whole
            map where it has none.

    Attributes:
        maps: the tokens that are left can be made a whole map again. Without, taps behind the first step are an error, and
            nothing is kept for them.

    Raises:
        ValueError: an argument does not fit the tower; the message names it.
    """

    maps = True

    def __init__(
        self, *, tower: Tower, blocks: Sequence[int] = (), keep_rates: Sequence[float] = (0.7,), window: int = 0
    ):
        super().__init__()
        self.rates = keep_by_block(tower, blocks, keep_rates)
        self.outer = tower.window
        self.window = check_window("window", window, tower) or tower.window

    @property
    def blocks(self) -> list[int]:
        """Numbers of the blocks that take tokens out."""
        return [number for number, rate in self.rates.items() if rate < 1]

    def check_taps(self, taps: Sequence[int]) -> None:
        """Raise ValueError for a block behind the last tap: it would not run."""
        behind = [number for number in self.rates if number > max(taps)]
        if behind:
            raise bad_argument("blocks", f"{behind} lie behind the last tap of the neck, block {max(taps)}")

    def start(self) -> "ReductionPass":
        """A hook for one pass."""
        return ReductionPass(self)

    def step(
        self, number: int, tokens: Tokens, members: np.ndarray, cells: CellMap, q: Tensor, k: Tensor
    ) -> Step | None:
        """Selects the kept tokens.

        Args:
            number: of the block.
            tokens: behind its attention.
            members: (G, M) tokens of each group, -1 beyond its size.
            cells: which tokens stand for the cells of the map.
            q, k: (B, heads, prefix + L, c) of the attention.

        Returns:
            The step, or None if all do.
        """
        raise NotImplementedError

    def pooled_cells(self, step: Step, cells: Tensor) -> Tensor:
        """(B, P) position of each pooled token, as a cell or ``NO_CELL``, from the tokens' cells (B, L)."""
        raise NotImplementedError


class ReductionPass(BlockHook):
    """One pass through the blocks: remembers what became of each cell."""

    def __init__(self, reduction: TokenReduction):
        self.reduction = reduction
        self.cells: CellMap | None = None
        self.sizes: tuple[int, ...] = ()

    def acts_on(self, number: int) -> bool:
        return number in self.reduction.blocks

    def after_attention(self, number: int, tokens: Tokens, q: Tensor | None, k: Tensor | None) -> Reduction | None:
        if not self.acts_on(number):
            return None
        if q is None or k is None or (tokens.cells is not None) != (self.cells is not None):
            raise RuntimeError(f"block {number}: another hook took tokens out too, a tower has one token reduction")
        with _without_autocast(tokens.x.device):
            return self._reduced(number, tokens, q, k)

    def _reduced(self, number: int, tokens: Tokens, q: Tensor, k: Tensor) -> Reduction | None:
        reduction, grid = self.reduction, tokens.grid
        if self.cells is None:
            cells = CellMap.of_map(len(tokens.x), grid[0] * grid[1], tokens.valid, tokens.x.device)
            members = windows_of_map(grid, reduction.window, reduction.outer)
        else:
            cells, members = self.cells, as_groups(self.sizes)
        step = reduction.step(number, tokens, members, cells, q, k)
        if step is None:
            return None
        patches = step.apply(tokens.patches)
        self.cells = cells.after(step, tokens.patches, patches) if reduction.maps else cells.moved(step)
        self.sizes = step.sizes
        return self._shortened(tokens, step, patches, self.cells), lambda x: step.apply(x, prefix=tokens.prefix)

    def _shortened(self, tokens: Tokens, step: Step, patches: Tensor, now: CellMap) -> Tokens:
        reduction = self.reduction
        within = windows_within(tokens.grid, reduction.window, reduction.outer) if reduction.outer else None
        cells = tokens.cells
        if cells is None:
            cells = torch.arange(tokens.grid[0] * tokens.grid[1], device=patches.device).expand(len(patches), -1)
        return replace(
            tokens,
            x=torch.cat([tokens.x[:, : tokens.prefix], patches], dim=1),
            cells=step.place(cells, reduction.pooled_cells(step, cells)),
            valid=step.valid,
            parts=within and _sums(step.sizes, within),
            rebuild=partial(now.dense, gate=reduction.followed()) if reduction.maps else _no_map,
        )


def _no_map(x: Tensor) -> Tensor:
    raise RuntimeError("the token reduction keeps no maps: a tap behind its first step has no map")


def _without_autocast(device: torch.device) -> AbstractContextManager:
    """Scores in half precision would often be equal, and a fused token is a part of the residual stream."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _sums(sizes: Sequence[int], counts: Sequence[int]) -> tuple[int, ...]:
    """Sums of so many sizes each, one after another."""
    left = iter(sizes)
    return tuple(sum(next(left) for _ in range(count)) for count in counts)
