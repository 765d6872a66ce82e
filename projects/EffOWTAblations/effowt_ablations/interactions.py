"""Sparse interactions to compare ``axes`` and its scaled sum with.

A mixer's place in the comparison: ``axial`` (rows and columns), ``strip`` (unweighted line means), ``fixed`` (a matrix
per axis for one map size), ``dct`` (tables of few cosines), ``random`` and ``dense_pooled`` (in ``grid_mixers``).
"""

import math

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.side.mixers import MIXERS, LineMixer, RelativeLineMixer
from effowt_d2.modeling.side.sparse_interaction import INTERACTIONS, SparseInteraction
from effowt_d2.utils.arguments import bad_argument

from . import grid_mixers  # noqa: F401  (registers its mixers)

__all__ = ["AxialMixer", "ConcatInteraction", "CosineLineMixer", "FixedMixer", "StripMixer"]


@INTERACTIONS.register("concat")
class ConcatInteraction(SparseInteraction):
    """The linear map takes the concatenated mixes, without scales: Y = M * (W GELU([Z, Mix_1(Z), ...]) + b)."""

    def _add_weights(self, mixes: int) -> None:
        self.linear = nn.Linear((mixes + 1) * self.channels, self.channels)

    def _mixed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return torch.cat([x, *self.mixer(x, mask)], dim=-1)


@MIXERS.register("axial")
class AxialMixer(RelativeLineMixer):
    """Rows and columns, whatever ``axes`` are."""

    def __init__(self, **lines):
        super().__init__(**{**lines, "axes": ("row", "column")})


@MIXERS.register("dct")
class CosineLineMixer(RelativeLineMixer):
    """The table is a sum of the lowest cosines over the offsets.

    Args:
        coefficients: cosines per axis and group, from 1 to 2 * max_range - 1.
        lines: see :class:`Mixer`.
    """

    scales = ("coefficients",)

    def __init__(self, *, coefficients: int = 16, **lines):
        super().__init__(**lines)
        del self.table
        n = 2 * self.max_range - 1
        if not 1 <= coefficients <= n:
            raise bad_argument("coefficients", f"must be from 1 to {n} (2 * max_range - 1), got {coefficients}")
        position = (torch.arange(n) + 0.5) * math.pi / n
        self.register_buffer("basis", torch.cos(torch.arange(coefficients)[:, None] * position), persistent=False)
        start = torch.zeros(len(self.axes), self.groups, coefficients)
        start[..., 0] = 1
        self.coefficients = nn.Parameter(start)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {**super().from_config(cfg), "coefficients": cfg.MODEL.SIDE.SIM.COEFFICIENTS}

    def tables(self) -> Tensor:
        return self.coefficients @ self.basis


@MIXERS.register("strip")
class StripMixer(LineMixer):
    """Plain line means, nothing trained."""

    def __init__(self, **lines):
        super().__init__(**lines)
        self.register_buffer("one", torch.ones(1, 1, 1), persistent=False)

    def matrix(self, index: int, length: int) -> Tensor:
        return self.one.expand(self.groups, length, length)


@MIXERS.register("fixed")
class FixedMixer(LineMixer):
    """Full matrices along rows and columns (sMLP), which know one map size only.

    Args:
        resolution: map side in tokens.
        lines: see :class:`Mixer`.
    """

    scales = ("weight",)

    def __init__(self, *, resolution: int = 64, **lines):
        super().__init__(**{**lines, "axes": ("row", "column")})
        self.resolution = resolution
        self.weight = nn.Parameter(torch.ones(2, self.groups, resolution, resolution))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {**super().from_config(cfg), "resolution": cfg.MODEL.SIDE.SIM.RESOLUTION}

    def matrix(self, index: int, length: int) -> Tensor:
        if length > self.resolution:
            raise ValueError(
                f"the mixer 'fixed' was built for maps up to {self.resolution} tokens a side "
                f"(MODEL.SIDE.SIM.RESOLUTION), got {length}"
            )
        return self.weight[index][:, :length, :length]
