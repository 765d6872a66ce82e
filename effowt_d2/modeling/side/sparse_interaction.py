"""The sparse interaction (SIM): a token exchanges with the tokens on its row, column and two diagonals.

It stands where a transformer block has its dense MLP. With Z (B, H, W, C) and a valid mask M (B, H, W):

    Y = M * (W GELU(u_0 * Z + sum_a u_a * Mix_a(Z)) + b)

Mix_a is a weighted mean over the valid tokens of a line (see ``line_mix``), u are channel scales, W and b a linear
map. The residual belongs to the block. Any H and W work with the same weights.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.modeling.layers.recompute import recomputed

from .grid_mixers import PooledMixer, RandomMixer
from .line_sheet import AXES
from .mixers import CosineLineMixer, FixedMixer, RelativeLineMixer, StripMixer

__all__ = ["SIM_KINDS", "SparseInteraction"]

SIM_KINDS = ("axes", "axial", "strip", "fixed", "dct", "random", "dense_pooled")


class SparseInteraction(nn.Module):
    """Sparse interaction on a map of tokens.

    Args:
        channels: C.
        groups: channel groups [G]; the channels of a group share their table of weights.
        max_range: offsets along a line with a weight of their own [R]; farther ones share the last.
        kind: ``axes`` (rows, columns, both diagonals), or one of the alternatives to compare it with: ``axial``
            (rows and columns), ``strip`` (unweighted line means), ``fixed`` (a matrix per axis for one map size),
            ``dct`` (tables of few cosines), ``random`` (as many offsets, drawn over the square), ``dense_pooled``
            (everything with everything on a pooled grid).
        axes: lines of the kinds ``axes``, ``strip`` and ``dct``.
        fusion: ``sum`` (scaled by channel) or ``concat`` (W maps the concatenated mixes, no scales).
        coefficients: cosines per table, kind ``dct``.
        resolution: map side, kind ``fixed``.
        seed: of the offsets, kind ``random``.

    Raises:
        ValueError: for an unknown kind, axis or fusion, or groups that do not divide the channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        groups: int = 8,
        max_range: int = 128,
        kind: str = "axes",
        axes: Sequence[str] = AXES,
        fusion: str = "sum",
        coefficients: int = 16,
        resolution: int = 64,
        seed: int = 0,
    ):
        super().__init__()
        if kind not in SIM_KINDS:
            raise ValueError(f"unknown kind of sparse interaction {kind!r}; known: {list(SIM_KINDS)}")
        if fusion not in ("sum", "concat"):
            raise ValueError(f"unknown fusion of a sparse interaction {fusion!r}; known: ['concat', 'sum']")
        if groups < 1 or channels % groups:
            raise ValueError(f"{groups} groups do not divide the {channels} channels of a sparse interaction")
        if max_range < 1:
            raise ValueError(f"the range of a sparse interaction is at least 1, got {max_range}")
        if kind == "axes":
            self.mixer = RelativeLineMixer(axes=axes, groups=groups, max_range=max_range)
        elif kind == "axial":
            self.mixer = RelativeLineMixer(axes=("row", "column"), groups=groups, max_range=max_range)
        elif kind == "strip":
            self.mixer = StripMixer(axes=axes, groups=groups)
        elif kind == "dct":
            self.mixer = CosineLineMixer(axes=axes, groups=groups, max_range=max_range, coefficients=coefficients)
        elif kind == "fixed":
            self.mixer = FixedMixer(groups=groups, resolution=resolution)
        elif kind == "random":
            self.mixer = RandomMixer(groups=groups, max_range=max_range, seed=seed)
        else:
            self.mixer = PooledMixer(groups=groups)
        self.channels = channels
        self.groups = groups
        self.kind = kind
        self.fusion = fusion
        mixes = self.mixer.num_mixes
        if fusion == "sum":
            scale = torch.full((mixes + 1, channels), 1.0 / max(mixes, 1))
            scale[0] = 1.0
            self.scale = nn.Parameter(scale)
            self.linear = nn.Linear(channels, channels)
        else:
            self.linear = nn.Linear((mixes + 1) * channels, channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        Args:
            x: (B, H, W, C), any H, W >= 1.
            mask: (B, H, W) bool, true where a token is valid; all of them if left out.

        Returns:
            (B, H, W, C), zero at tokens that are not valid. An image without a valid token gives zeros.
        """
        if x.dim() != 4 or x.shape[-1] != self.channels:
            raise ValueError(f"expected (B, H, W, {self.channels}), got {tuple(x.shape)}")
        if mask is not None and mask.shape != x.shape[:3]:
            raise ValueError(f"expected a mask of shape {tuple(x.shape[:3])}, got {tuple(mask.shape)}")
        if self.fusion == "sum":
            mixed = self.mixer.weighted_sum(x, mask, self.scale)
        else:
            mixed = torch.cat([x, *self.mixer(x, mask)], dim=-1)
        y = recomputed(self._activate, mixed)
        return y if mask is None else y * mask.unsqueeze(-1)

    def _activate(self, mixed: Tensor) -> Tensor:
        return self.linear(F.gelu(mixed))
