"""Token mixers of the sparse interaction (SIM) and its alternatives.

A mixer maps (B, H, W, C) and a valid mask (B, H, W), or None, to a list of mixed maps of the same shape. Each mix is
a mean over the valid tokens that a token sees, weighted by trained tables that start at one. Here: the mixers along
lines; those over the grid are in ``grid_mixers``.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .line_mix import line_mix
from .line_sheet import AXES, line_length, line_weight


class Mixer(nn.Module):
    """Base of all mixers: ``num_mixes`` maps out of one."""

    num_mixes = 1

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        raise NotImplementedError

    def weighted_sum(self, x: Tensor, mask: Tensor | None, scales: Tensor) -> Tensor:
        """scales (num_mixes + 1, C): ``scales[0] * x + sum over a of scales[1 + a] * mix a``."""
        return sum((m * s for m, s in zip(self(x, mask), scales[1:])), start=x * scales[0])


class LineMixer(Mixer):
    """Means along lines, weighted by what :meth:`matrix` says."""

    def __init__(self, *, axes: Sequence[str], groups: int):
        super().__init__()
        unknown = [a for a in axes if a not in AXES]
        if unknown or not axes or len(set(axes)) != len(axes):
            raise ValueError(f"axes of a sparse interaction are distinct names out of {list(AXES)}, got {list(axes)}")
        self.axes = tuple(axes)
        self.groups = groups

    @property
    def num_mixes(self) -> int:
        return len(self.axes)

    def matrix(self, index: int, length: int) -> Tensor:
        """(G, L, L) weights of axis number ``index`` for lines of ``length`` tokens."""
        raise NotImplementedError

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        alone = x.new_zeros((2, x.shape[-1]))
        alone[1] = 1
        lines = zip(*self._lines(x, mask), self.axes)
        return [line_mix(x, [matrix], [weight], [axis], alone) for matrix, weight, axis in lines]

    def weighted_sum(self, x: Tensor, mask: Tensor | None, scales: Tensor) -> Tensor:
        return line_mix(x, *self._lines(x, mask), self.axes, scales)

    def _lines(self, x: Tensor, mask: Tensor | None) -> tuple[list[Tensor], list[Tensor | None]]:
        """Matrices and weights of all axes. Without a mask rows and columns are of one length: no weight needed."""
        size = x.shape[1:3]
        matrices = [self.matrix(i, line_length(axis, *size)) for i, axis in enumerate(self.axes)]
        valid = x.new_ones((1, *size), dtype=torch.bool) if mask is None else mask
        weights: list[Tensor | None] = []
        for i, axis in enumerate(self.axes):
            if mask is None and axis in ("row", "column"):
                matrices[i] = matrices[i] / matrices[i].shape[-1]
                weights.append(None)
            else:
                weights.append(line_weight(valid, axis, torch.promote_types(x.dtype, torch.float32)))
        return matrices, weights


class RelativeLineMixer(LineMixer):
    """Kinds ``axes`` and ``axial``: one weight per offset along the line, the last one shared by all farther ones."""

    def __init__(self, *, axes: Sequence[str], groups: int, max_range: int):
        super().__init__(axes=axes, groups=groups)
        self.max_range = max_range
        self.table = nn.Parameter(torch.ones(len(axes), groups, 2 * max_range - 1))

    def tables(self) -> Tensor:
        """(axes, G, 2R-1)."""
        return self.table

    def matrix(self, index: int, length: int) -> Tensor:
        table = self.tables()
        offset = torch.arange(1 - length, length, device=table.device).clamp(1 - self.max_range, self.max_range - 1)
        # row p of the matrix is the run of offsets -p .. length - 1 - p
        return table[index][:, offset + self.max_range - 1].unfold(1, length, 1).flip(1)


class CosineLineMixer(RelativeLineMixer):
    """Kind ``dct``: the table is a sum of the lowest cosines over the offsets."""

    def __init__(self, *, axes: Sequence[str], groups: int, max_range: int, coefficients: int):
        super().__init__(axes=axes, groups=groups, max_range=max_range)
        del self.table
        if not 1 <= coefficients <= 2 * max_range - 1:
            raise ValueError(f"dct keeps 1 to {2 * max_range - 1} coefficients (2 * range - 1), got {coefficients}")
        n = 2 * max_range - 1
        position = (torch.arange(n) + 0.5) * math.pi / n
        self.register_buffer("basis", torch.cos(torch.arange(coefficients)[:, None] * position), persistent=False)
        start = torch.zeros(len(axes), groups, coefficients)
        start[..., 0] = 1
        self.coefficients = nn.Parameter(start)

    def tables(self) -> Tensor:
        return self.coefficients @ self.basis


class StripMixer(LineMixer):
    """Kind ``strip``: plain line means, nothing trained."""

    def __init__(self, *, axes: Sequence[str], groups: int):
        super().__init__(axes=axes, groups=groups)
        self.register_buffer("one", torch.ones(1, 1, 1), persistent=False)

    def matrix(self, index: int, length: int) -> Tensor:
        return self.one.expand(self.groups, length, length)


class FixedMixer(LineMixer):
    """Kind ``fixed`` (sMLP): full matrices along rows and columns, which know one map size only."""

    def __init__(self, *, groups: int, resolution: int):
        super().__init__(axes=("row", "column"), groups=groups)
        self.resolution = resolution
        self.weight = nn.Parameter(torch.ones(2, groups, resolution, resolution))

    def matrix(self, index: int, length: int) -> Tensor:
        if length > self.resolution:
            raise ValueError(
                f"sparse interaction 'fixed' was built for maps up to {self.resolution} tokens a side "
                f"(MODEL.SIDE.SIM.RESOLUTION), got {length}"
            )
        return self.weight[index][:, :length, :length]
