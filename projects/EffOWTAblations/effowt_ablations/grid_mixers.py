"""Token mixers that do not follow lines: the controls ``random`` and ``dense_pooled`` of the sparse interaction."""

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.side.mixers import MIXERS, Mixer

__all__ = ["PooledMixer", "RandomMixer"]

POOLED_SIDE = 16


@MIXERS.register("random")
class RandomMixer(Mixer):
    """As many offsets as four lines have, drawn once over the square; the control for ``axes``.

    Args:
        seed: of the offsets.
        lines: see :class:`Mixer`.
    """

    scales = ("table",)

    def __init__(self, *, seed: int = 0, **lines):
        super().__init__(**lines)
        side = 2 * self.max_range - 1
        count = min(4 * side, side * side)
        drawn = torch.randperm(side * side, generator=torch.Generator().manual_seed(seed))[:count]
        offsets = torch.stack([drawn // side, drawn % side], dim=1) - (self.max_range - 1)
        self.register_buffer("offsets", offsets)
        self.table = nn.Parameter(torch.ones(self.groups, count))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {**super().from_config(cfg), "seed": cfg.MODEL.SIDE.SEED}

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        h, w = x.shape[1:3]
        inside = (self.offsets[:, 0].abs() < h) & (self.offsets[:, 1].abs() < w)
        dtype = torch.promote_types(x.dtype, torch.float32)
        valid = _valid(x, mask).to(dtype)
        with torch.autocast(x.device.type, enabled=False):
            total = _correlate(x * valid, self._kernel(self.table[:, inside].to(dtype), inside, h, w))
            # how many valid tokens each token sees: the same sum with every weight one
            seen = _correlate(valid, self._kernel(valid.new_ones(1, int(inside.sum())), inside, h, w))
            return [(total / seen.round().clamp(min=1)).to(x.dtype)]

    def _kernel(self, weights: Tensor, inside: Tensor, height: int, width: int) -> Tensor:
        """(g, K) weights at their offsets on a (g, 2H, 2W) torus, large enough that nothing wraps round."""
        group = torch.arange(len(weights), device=weights.device)[:, None]
        dy, dx = self.offsets[inside].unbind(1)
        kernel = weights.new_zeros((len(weights), 2 * height, 2 * width))
        return kernel.index_put((group, dy % (2 * height), dx % (2 * width)), weights)


def _valid(x: Tensor, mask: Tensor | None) -> Tensor:
    """(B, H, W, 1) bool."""
    return x.new_ones((*x.shape[:3], 1), dtype=torch.bool) if mask is None else mask.unsqueeze(-1)


def _correlate(x: Tensor, kernel: Tensor) -> Tensor:
    """out[p, c] = sum_o kernel[group(c), o] x[p + o, c]; (B, H, W, C) with a (G, 2H, 2W) kernel of wrapped offsets."""
    b, h, w, channels = x.shape
    size = kernel.shape[1:]
    spectrum = torch.fft.rfft2(x.movedim(-1, 1), s=size)
    kernels = torch.fft.rfft2(kernel).repeat_interleave(channels // len(kernel), dim=0)
    return torch.fft.irfft2(spectrum * kernels.conj(), s=size)[..., :h, :w].movedim(1, -1)


@MIXERS.register("dense_pooled")
class PooledMixer(Mixer):
    """Every cell of a 16 x 16 pooled grid sees every other one.

    The grid covers the valid area of each image, up to its last valid row and column, not the canvas.
    """

    scales = ("weight",)

    def __init__(self, **lines):
        super().__init__(**lines)
        cells = POOLED_SIDE * POOLED_SIDE
        self.weight = nn.Parameter(torch.ones(self.groups, cells, cells))

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        b, h, w, channels = x.shape
        groups = len(self.weight)
        valid = _valid(x, mask).to(x.dtype)
        rows, columns = _extent(valid, 2), _extent(valid, 1)
        down = [_pooling(rows, h).to(x.dtype), _pooling(columns, w).to(x.dtype)]
        share = torch.einsum("bih,bhwc,bjw->bijc", down[0], valid, down[1])
        cells = torch.einsum("bih,bhwc,bjw->bijc", down[0], x * valid, down[1]) / share.clamp(min=1e-6)
        present = (share > 0).to(x.dtype)
        cells = cells * present / present.sum((1, 2), keepdim=True).clamp(min=1)
        cells = cells.reshape(b, -1, groups, channels // groups)
        mixed = torch.einsum("gpq,bqgc->bpgc", self.weight.to(x.dtype), cells.to(x.dtype))
        mixed = mixed.reshape(b, POOLED_SIDE, POOLED_SIDE, channels)
        up = [_sampling(rows, h).to(mixed.dtype), _sampling(columns, w).to(mixed.dtype)]
        return [torch.einsum("bhi,bijc,bwj->bhwc", up[0], mixed, up[1])]


def _extent(valid: Tensor, across: int) -> Tensor:
    """(B,) last valid position plus one, at least 1, of (B, H, W, 1) along what remains when ``across`` is summed."""
    any_valid = valid.squeeze(-1).amax(across)
    return (any_valid * torch.arange(1, any_valid.shape[1] + 1, device=valid.device)).amax(1).clamp(min=1)


def _pooling(extent: Tensor, length: int) -> Tensor:
    """(B, 16, length) means over the 16 parts of each extent, as adaptive pooling cuts them."""
    part = torch.arange(POOLED_SIDE, device=extent.device)[None, :, None]
    position = torch.arange(length, device=extent.device)
    extent = extent[:, None, None].long()
    first, last = part * extent // POOLED_SIDE, -(-(part + 1) * extent // POOLED_SIDE)
    inside = ((position >= first) & (position < last)).float()
    return inside / inside.sum(2, keepdim=True)


def _sampling(extent: Tensor, length: int) -> Tensor:
    """(B, length, 16) bilinear weights that spread the 16 parts over each extent again."""
    position = torch.arange(length, device=extent.device)[None, :, None]
    source = ((position + 0.5) * POOLED_SIDE / extent[:, None, None] - 0.5).clamp(0, POOLED_SIDE - 1)
    return (1 - (source - torch.arange(POOLED_SIDE, device=extent.device)).abs()).clamp(min=0)
