"""Stochastic depth of a tower's blocks in training, as DINOv2's code does it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from effowt_d2.modeling.tower.hooks import BlockHook
from effowt_d2.modeling.tower.passes import Pass
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.checks import check_number

__all__ = ["DropPath", "drop_residual"]

_BY_SUBSET = 0.1


class DropPath:
    """Runs each half of a block for some images of the batch only, where the tower trains.

    Args:
        rate: probability that an image skips a half, the same for all blocks. Above 0.1 a half runs on a random part of
            the batch, which saves its computation; at 0.1 or less it runs on all and is zeroed.
    """

    def __init__(self, *, rate: float = 0.0):
        self.rate = check_number("rate", rate, 0.0, 1.0)

    def attach(self, tower: Tower) -> None:
        """Let the tower run this way."""
        if self.rate:
            tower.pass_type = self._start

    def _start(self, tower: Tower, tokens: Tokens, hooks: Sequence[BlockHook]) -> Pass:
        return _DroppingPass(tower, tokens, hooks, self.rate) if tower.training else Pass(tower, tokens, hooks)


class _DroppingPass(Pass):
    def __init__(self, tower: Tower, tokens: Tokens, hooks: Sequence[BlockHook], rate: float):
        super().__init__(tower, tokens, hooks)
        self.rate = rate

    def run(self, number: int) -> None:
        tower, block, adapters = self.tower, self.tower.blocks[number], self.tower.adapters_of(number)

        def attend(x: Tensor) -> Tensor:
            return tower.calls.attend(tower, block, x, adapters=adapters, keys=self.keys, turns=self._turned(False))[0]

        def feed(x: Tensor) -> Tensor:
            return tower.calls.feed(tower, block, x, adapters=adapters)

        x = drop_residual(self.tokens.x, attend, self.rate)
        self.tokens = replace(self.tokens, x=drop_residual(x, feed, self.rate))


def drop_residual(x: Tensor, branch: Callable[[Tensor], Tensor], rate: float) -> Tensor:
    """``x + branch(x)`` with the branch dropped for a fraction of the rows of x (B, ...), and the others scaled up."""
    if rate <= _BY_SUBSET:
        kept = (torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= rate).to(x.dtype)
        return x + branch(x) * kept / (1 - rate)
    count = max(1, int(len(x) * (1 - rate)))
    rows = torch.randperm(len(x), device=x.device)[:count]
    added = branch(x[rows]) * (len(x) / count)
    return x.index_add(0, rows, added.to(x.dtype))
