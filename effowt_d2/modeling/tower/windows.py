"""Windowed attention of a tower's blocks, for high resolutions.

Each window is run like an image of its own: its patch tokens and a copy of the class token. After the block the class
token is the mean of its copies in the windows that hold a part of the image. Tokens beside the image are masked, so
the padding of an image, or of its last windows, changes nothing.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from effowt_d2.modeling.layers.attention import partition, unpartition
from effowt_d2.modeling.layers.groups import as_groups
from effowt_d2.utils.arguments import bad_argument

__all__ = ["Parts", "in_windows", "key_mask", "window_blocks"]

EVERY = 4
"""One block in so many is global, counted back from the last, unless the config lists them."""


def window_blocks(window: int, global_blocks: Sequence[int], depth: int) -> frozenset[int]:
    """Numbers of the blocks that run in windows.

    Args:
        window: side of a window in tokens; 0: no block does.
        global_blocks: numbers of those that do not; empty: every fourth, the last included.
        depth: number of blocks.

    Raises:
        ValueError: the side is negative, or a block does not exist.
    """
    if window < 0:
        raise bad_argument("window", f"must be a side in tokens, or 0 for no windows, got {window}")
    outside = [number for number in global_blocks if number not in range(depth)]
    if outside:
        raise bad_argument("global_blocks", f"{outside} do not exist, the tower has the blocks 0 to {depth - 1}")
    if not window:
        return frozenset()
    return frozenset(range(depth)) - frozenset(global_blocks or range(depth - 1, -1, -EVERY))


def key_mask(valid: Tensor | None, prefix: int) -> Tensor | None:
    """Attention mask of the tokens.

    Args:
        valid: (B, L) bool for the patch tokens, None if all are.
        prefix: number of class tokens (0 or 1) before them, which always may.

    Returns:
        (B, 1, 1, prefix + L), or None.
    """
    if valid is None:
        return None
    if not prefix:
        # a window beside the image: what comes out is not looked at, but no NaN may arise
        valid = valid | ~valid.any(1, keepdim=True)
    return F.pad(valid, (prefix, 0), value=True)[:, None, None, :]


def in_windows(
    run: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    mask: Tensor | None,
    *,
    grid: tuple[int, int],
    window: int,
    prefix: int,
) -> Tensor:
    """Run a block in windows that lie on the map from the top left.

    Args:
        run: takes tokens (N, prefix + window * window, d) and their key mask, returns tokens of the same shape.
        x: (B, prefix + h * w, d).
        mask: (B, h, w) bool, true on the image, or None.
        grid: h, w.
        window: side in tokens.
        prefix: number of class tokens, 0 or 1.

    Returns:
        (B, prefix + h * w, d).
    """
    b, _, channels = x.shape
    if mask is None and (grid[0] % window or grid[1] % window):
        mask = torch.ones((b, *grid), dtype=torch.bool, device=x.device)
    valid = None if mask is None else partition(mask, window)
    size = (b, *grid, channels)
    tokens = partition(x[:, prefix:].reshape(size), window)
    copies = x[:, :prefix].repeat_interleave(len(tokens) // b, dim=0)
    out = run(torch.cat([copies, tokens], dim=1), key_mask(valid, prefix))
    patches = unpartition(out[:, prefix:], window, torch.Size(size)).flatten(1, 2)
    return torch.cat([_mean_copy(out[:, :prefix].unflatten(0, (b, -1)), valid), patches], dim=1)


class Parts:
    """The windows of a sequence from which tokens were taken out: they hold different numbers of tokens.

    Args:
        sizes: tokens of each window, which follow each other.
        valid: (B, N) bool, true for tokens to attend to, or None.
        device: of the tokens.
    """

    def __init__(self, sizes: Sequence[int], valid: Tensor | None, device: torch.device):
        table = as_groups(sizes)
        there = table >= 0
        self._index = torch.as_tensor(table.clip(min=0), device=device)
        self._back = torch.as_tensor(there.ravel().nonzero()[0], device=device)
        self._valid = None if valid is None and there.all() else torch.as_tensor(there, device=device)[None]
        if valid is not None:
            self._valid = self._valid & valid[:, self._index]

    def split(self, x: Tensor) -> Tensor:
        """(B, N, ...) -> (B * windows, M, ...), as many as the largest window has."""
        return x[:, self._index].flatten(0, 1)

    def run(self, run: Callable[[Tensor, Tensor | None], Tensor], x: Tensor, prefix: int) -> Tensor:
        """As :func:`in_windows`. x (B, prefix + N, d)."""
        b, windows = len(x), len(self._index)
        valid = None if self._valid is None else self._valid.expand(b, -1, -1).flatten(0, 1)
        copies = x[:, :prefix].repeat_interleave(windows, dim=0)
        out = run(torch.cat([copies, self.split(x[:, prefix:])], dim=1), key_mask(valid, prefix))
        patches = out[:, prefix:].unflatten(0, (b, windows)).flatten(1, 2)[:, self._back]
        return torch.cat([_mean_copy(out[:, :prefix].unflatten(0, (b, windows)), valid), patches], dim=1)


def _mean_copy(copies: Tensor, valid: Tensor | None) -> Tensor:
    """(B, windows, prefix, d) -> (B, prefix, d), over the windows with a valid token."""
    if valid is None:
        return copies.mean(1)
    weight = valid.any(1).reshape(len(copies), -1, 1, 1).to(copies.dtype)
    return (copies * weight).sum(1) / weight.sum(1)
