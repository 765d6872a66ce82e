"""Self-attention on maps, global or in windows, with masked padding."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument

from .recompute import recomputed


def attend(q: Tensor, k: Tensor, v: Tensor, key_mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention with a key mask.

    Args:
        q, k, v: (B, heads, L, head size).
        key_mask: (B, L) bool, true for keys to attend to. A row without any attends to all of them: its own tokens are
            invalid and are zeroed by the caller, and no NaN arises.
    """
    if key_mask is not None:
        key_mask = (key_mask | ~key_mask.any(1, keepdim=True))[:, None, None, :]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)


def partition(x: Tensor, window: int) -> Tensor:
    """(B, H, W, ...) -> (B * windows, window * window, ...), zero-padded to whole windows from the top left."""
    b, h, w = x.shape[:3]
    rest = x.shape[3:]
    bottom, right = -h % window, -w % window
    if bottom or right:
        padded = x.new_zeros((b, h + bottom, w + right, *rest))
        padded[:, :h, :w] = x
        x = padded
    x = x.reshape(b, (h + bottom) // window, window, (w + right) // window, window, *rest)
    return x.transpose(2, 3).reshape(-1, window * window, *rest)


def unpartition(x: Tensor, window: int, size: torch.Size) -> Tensor:
    """The inverse of :func:`partition`; size is the (B, H, W, ...) that came in."""
    b, h, w = size[:3]
    rows, columns = -(-h // window), -(-w // window)
    x = x.reshape(b, rows, columns, window, window, *x.shape[2:]).transpose(2, 3)
    return x.reshape(b, rows * window, columns * window, *x.shape[5:])[:, :h, :w]


class WindowAttention(nn.Module):
    """Multi-head self-attention on a map.

    Args:
        channels: C.
        num_heads: heads, which divide C.
        window: window side in tokens; 0 attends globally. A map that fits in one window is attended globally.
    """

    def __init__(self, *, channels: int, num_heads: int = 1, window: int = 0):
        super().__init__()
        if channels % num_heads:
            raise bad_argument("num_heads", f"must divide the {channels} channels, got {num_heads}")
        self.num_heads = num_heads
        self.window = window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None, *, norm: nn.Module | None = None) -> Tensor:
        """x (B, H, W, C), mask (B, H, W) or None -> (B, H, W, C). The norm, if there is one, comes first."""
        b, h, w, channels = x.shape
        window = 0 if max(h, w) <= self.window else self.window
        if window and mask is None and (h % window or w % window):
            mask = x.new_ones((b, h, w), dtype=torch.bool)
        key_mask = None if mask is None else _tokens(mask, window)
        out = self._attend(recomputed(self._project, x, norm, window), key_mask)
        return unpartition(out, window, x.shape) if window else out.reshape(b, h, w, channels)

    def _project(self, x: Tensor, norm: nn.Module | None, window: int) -> Tensor:
        return self.qkv(_tokens(x if norm is None else norm(x), window))

    def _attend(self, qkv: Tensor, key_mask: Tensor | None) -> Tensor:
        n, length, _ = qkv.shape
        q, k, v = qkv.reshape(n, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        out = attend(q, k, v, key_mask)
        return self.proj(out.transpose(1, 2).reshape(n, length, -1))


def _tokens(x: Tensor, window: int) -> Tensor:
    """(B, H, W, ...) -> (N, L, ...), by window or, if that is 0, by image."""
    return partition(x, window) if window else x.flatten(1, 2)
