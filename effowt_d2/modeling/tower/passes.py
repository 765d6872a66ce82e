"""One pass of tokens through the blocks of a tower.

A block runs as a whole, unless hooks stand between its halves. A block in windows runs both halves in them; with hooks
only its attention does, and the class tokens of the windows become one before the hooks see them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from timm.layers import drop_path
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument

from .hooks import BlockHook
from .tokens import NO_CELL, Tokens
from .windows import Parts, in_windows, key_mask

if TYPE_CHECKING:
    from .tower import Tower

__all__ = ["Pass"]


class Pass:
    """Runs blocks of a tower, one after another.

    Args:
        tower: the tower.
        tokens: that enter its first block.
        hooks: of this pass.

    Attributes:
        tokens: behind the last block that was run.
    """

    def __init__(self, tower: "Tower", tokens: Tokens, hooks: Sequence[BlockHook]):
        self.tower = tower
        self.tokens = tokens
        self.hooks = hooks
        self._note_tokens()

    def _note_tokens(self) -> None:
        """Data that depends on the set of tokens, not on their values."""
        self.keys = key_mask(self.tokens.valid, self.tokens.prefix)
        self._turns: dict[bool, Tensor | None] = {}
        self._parts: tuple[Parts, Tensor | None] | None = None

    def run(self, number: int) -> None:
        """Run the block of that number."""
        if any(hook.acts_on(number) for hook in self.hooks):
            self._run_halves(number)
        else:
            whole = partial(self.tower.calls.block, self.tower, self.tower.blocks[number])
            rate = self.tower.drop_rate(number)
            x = self._apply(number, partial(whole, adapters=self.tower.adapters_of(number), rate=rate))
            self.tokens = replace(self.tokens, x=x)

    def _in_windows(self, number: int) -> bool:
        return self.tower.is_windowed(number) and max(self.tokens.grid) > self.tower.window

    def _apply(self, number: int, step: Callable[..., Tensor]) -> Tensor:
        """Result of ``step(x, keys=..., turns=...)`` on the tokens, per window in windowed blocks."""
        tokens, window = self.tokens, self.tower.window
        if not self._in_windows(number):
            return step(tokens.x, keys=self.keys, turns=self._turned(self.tower.is_windowed(number)))
        if tokens.cells is not None:
            return self._apply_in_parts(number, step)
        turns = self.tower.turns((window, window), windowed=True)
        return in_windows(
            lambda x, keys: step(x, keys=keys, turns=turns),
            tokens.x,
            None if tokens.valid is None else tokens.valid.unflatten(1, tokens.grid),
            grid=tokens.grid,
            window=window,
            prefix=tokens.prefix,
        )

    def _apply_in_parts(self, number: int, step: Callable[..., Tensor]) -> Tensor:
        """As :meth:`_apply`, in windows from which tokens were taken out."""
        tokens, window = self.tokens, self.tower.window
        if tokens.cells is None or tokens.parts is None:
            raise bad_argument(
                "window", f"must be 0: block {number} runs in windows, and tokens were taken out of unknown ones"
            )
        if self._parts is None:
            layout = Parts(tokens.parts, tokens.valid, tokens.x.device)
            inside = layout.split(_inside(tokens.cells, tokens.grid[1], window))
            self._parts = layout, self.tower.turns((window, window), windowed=True, cells=inside)
        layout, turns = self._parts
        return layout.run(lambda x, keys: step(x, keys=keys, turns=turns), tokens.x, tokens.prefix)

    def _turned(self, windowed: bool) -> Tensor | None:
        if windowed not in self._turns:
            self._turns[windowed] = self.tower.turns(self.tokens.grid, windowed=windowed, cells=self.tokens.cells)
        return self._turns[windowed]

    def _run_halves(self, number: int) -> None:
        tower, block, adapters = self.tower, self.tower.blocks[number], self.tower.adapters_of(number)
        rate = tower.drop_rate(number)
        heads: list[Tensor] = []

        def attend(x: Tensor, *, keys: Tensor | None, turns: Tensor | None) -> Tensor:
            branch, *heads[:] = tower.calls.attend(tower, block, x, adapters=adapters, keys=keys, turns=turns)
            return x + drop_path(branch, rate, training=True)

        windowed = self._in_windows(number)
        self.tokens = replace(self.tokens, x=self._apply(number, attend))
        self._reduce(number, *([None, None] if windowed else heads))
        tokens = self.tokens
        fed = tower.calls.feed(tower, block, tokens.x, adapters=adapters)
        x = tokens.x + drop_path(fed, rate, training=True)
        for extra in (hook.beside_feed(number, tokens) for hook in self.hooks):
            x = x if extra is None else x + extra
        self.tokens = replace(tokens, x=x)

    def _reduce(self, number: int, q: Tensor | None, k: Tensor | None) -> None:
        for hook in self.hooks:
            reduction = hook.after_attention(number, self.tokens, q, k)
            if reduction is None:
                continue
            # their rows are no longer those of the tokens
            q = k = None
            self.tokens, rows = reduction
            self._note_tokens()
            for other in self.hooks:
                other.reduced(rows)


def _inside(cells: Tensor, columns: int, window: int) -> Tensor:
    """Cells of a map of so many columns, as cells of the window that each lies in."""
    there = cells // columns % window * window + cells % columns % window
    return torch.where(cells == NO_CELL, NO_CELL, there)
