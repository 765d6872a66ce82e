"""Token mixers of the sparse interaction (SIM).

A mixer maps (B, H, W, C) and a valid mask (B, H, W), or None, to a list of mixed maps of the same shape. Each mix is
a mean over the valid tokens that a token sees, weighted by trained tables that start at one.
"""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.registry import Registry

from .line_mix import line_mix
from .line_sheet import AXES, line_length, line_weight

__all__ = ["MIXERS", "LineMixer", "Mixer", "RelativeLineMixer"]

MIXERS: Registry[type["Mixer"]] = Registry("kinds of sparse interaction")


class Mixer(nn.Module):
    """Base of all mixers: ``num_mixes`` maps out of one.

    Every mixer can be built from the three arguments; what it has no use for it leaves alone.

    Args:
        groups: channel groups [G]; the channels of a group share their table of weights.
        max_range: offsets along a line with a weight of their own [R]; farther ones share the last.
        axes: lines that a token sees, of ``row``, ``column``, ``diagonal`` and ``antidiagonal``.

    Raises:
        ValueError: an unknown or repeated axis, or a number below 1.
    """

    num_mixes = 1

    def __init__(self, *, groups: int = 8, max_range: int = 128, axes: Sequence[str] = AXES):
        super().__init__()
        if groups < 1:
            raise bad_argument("groups", f"must be at least 1, got {groups}")
        if max_range < 1:
            raise bad_argument("max_range", f"must be at least 1, got {max_range}")
        if not axes or len(set(axes)) != len(axes) or not set(axes) <= set(AXES):
            raise bad_argument("axes", f"must be distinct names out of {list(AXES)}, got {list(axes)}")
        self.groups = groups
        self.max_range = max_range
        self.axes = tuple(axes)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor."""
        sim = cfg.MODEL.SIDE.SIM
        return {"groups": sim.GROUPS, "max_range": sim.RANGE, "axes": tuple(sim.AXES)}

    def forward(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        raise NotImplementedError

    def weighted_sum(self, x: Tensor, mask: Tensor | None, scales: Tensor) -> Tensor:
        """scales (num_mixes + 1, C): ``scales[0] * x + sum over a of scales[1 + a] * mix a``."""
        return sum((m * s for m, s in zip(self(x, mask), scales[1:])), start=x * scales[0])


class LineMixer(Mixer):
    """Means along lines, weighted by :meth:`matrix`."""

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


@MIXERS.register("axes")
class RelativeLineMixer(LineMixer):
    """One weight per offset along the line, the last one shared by all farther ones."""

    scales = ("table",)  # see SparseInteraction

    def __init__(self, **lines):
        super().__init__(**lines)
        self.table = nn.Parameter(torch.ones(len(self.axes), self.groups, 2 * self.max_range - 1))

    def tables(self) -> Tensor:
        """(axes, G, 2R-1)."""
        return self.table

    def matrix(self, index: int, length: int) -> Tensor:
        table = self.tables()
        offset = torch.arange(1 - length, length, device=table.device).clamp(1 - self.max_range, self.max_range - 1)
        # row p of the matrix is the run of offsets -p .. length - 1 - p
        return table[index][:, offset + self.max_range - 1].unfold(1, length, 1).flip(1)
