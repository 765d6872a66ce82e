"""Hooks between and beside the two halves of a tower's blocks.

Shapes: B images, L tokens with the prefix, d channels, heads of size c.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .tokens import Tokens

__all__ = ["BlockHook", "Reduction", "attention_row"]

Rows = Callable[[Tensor], Tensor]
"""From (B, L, channels) to (B, fewer, channels): what a reduction did to the tokens, for anything that lies beside
them."""

Reduction = tuple[Tokens, Rows]


class BlockHook:
    """Looks at one pass of tokens through a tower, and may change it; this one does nothing.

    A hook exists for one pass, so that it may keep the state of earlier blocks. A module that a tower runs with in
    every pass is attached to it (``Tower.companions``) and makes one in ``start()``.
    """

    def acts_on(self, number: int) -> bool:
        """Whether it looks at a block; a block that no hook looks at runs as a whole."""
        return True

    def after_attention(self, number: int, tokens: Tokens, q: Tensor | None, k: Tensor | None) -> Reduction | None:
        """Between the halves of a block.

        Args:
            number: of the block.
            tokens: behind the attention and its residual.
            q, k: (B, heads, L, c) of this attention, as they were multiplied; None where it ran in windows, or where
                another hook made the tokens fewer since.

        Returns:
            None, or the tokens that go on and how their rows come from those given, the prefix included.
        """
        return None

    def reduced(self, rows: Rows) -> None:
        """Some hook, this one or another, made the tokens fewer."""

    def beside_feed(self, number: int, tokens: Tokens) -> Tensor | None:
        """Term added to the output of a block, from the tokens that enter its MLP: (B, L, d) or None."""
        return None


def attention_row(query: Tensor, k: Tensor, keys: Tensor | None = None) -> Tensor:
    """Attention of one query to all tokens, beside a fused attention that keeps none of it.

    Args:
        query: (B, heads, 1, c), for example that of a class token, ``q[:, :, :1]``.
        k: (B, heads, L, c).
        keys: (B, 1, 1, L) bool, true for tokens that may be attended to, or None.

    Returns:
        (B, heads, L) float32, sums to 1 over the tokens.
    """
    scores = query.float() @ k.float().transpose(-2, -1) * k.shape[-1] ** -0.5
    if keys is not None:
        scores = scores.masked_fill(~keys, float("-inf"))
    return torch.softmax(scores, dim=-1).squeeze(2)
