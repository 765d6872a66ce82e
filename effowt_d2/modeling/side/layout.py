"""The numbers a side network is built from, checked before any module exists."""

from collections.abc import Sequence
from dataclasses import dataclass

STRIDES = (4, 8, 16)
TOPOLOGIES = ("sequential", "parallel")
TAP_SHARINGS = ("tap", "stage", "all")


@dataclass(frozen=True)
class SideLayout:
    """Width, depth and taps of a side network.

    Args:
        tower_dim: d, channels of the taps.
        tower_depth: blocks of the tower.
        head_size: channels of one attention head of the tower, kept where it divides the width.
        reduction: r; the width is s = d / r.
        topology: ``sequential`` (one ladder through strides 4, 8, 16) or ``parallel`` (a ladder per stride).
        blocks: blocks at strides 4, 8, 16, at least one each.
        mlp_ratio: rho, hidden expansion of the dense MLP at each stride.
        taps: tower blocks feeding the side blocks, in side order; empty spreads them evenly, ending at the last.
        tap_sharing: a down-projection per ``tap``, per ``stage``, or one for ``all``.
        sim_scales: strides whose blocks mix sparsely.

    Raises:
        ValueError: the numbers do not fit together; the message says which and why.
    """

    tower_dim: int
    tower_depth: int
    head_size: int
    reduction: int
    topology: str
    blocks: tuple[int, ...]
    mlp_ratio: tuple[float, ...]
    taps: tuple[int, ...]
    tap_sharing: str
    sim_scales: tuple[int, ...]

    def __post_init__(self):
        _check_choice("MODEL.SIDE.TOPOLOGY", self.topology, TOPOLOGIES)
        _check_choice("MODEL.SIDE.TAP_SHARING", self.tap_sharing, TAP_SHARINGS)
        if self.reduction < 1 or self.tower_dim % self.reduction:
            raise ValueError(
                f"MODEL.SIDE.REDUCTION {self.reduction} does not divide the {self.tower_dim} channels of the tower"
            )
        for key, values in (("BLOCKS", self.blocks), ("MLP_RATIO", self.mlp_ratio)):
            if len(values) != len(STRIDES) or min(values) <= 0:
                raise ValueError(
                    f"MODEL.SIDE.{key} has a positive number for each of the strides {STRIDES}, got {list(values)}"
                )
        absent = [scale for scale in self.sim_scales if scale not in STRIDES]
        if absent:
            raise ValueError(f"MODEL.SIDE.SIM.SCALES {absent} do not exist; the side network has {list(STRIDES)}")
        if self.channels % self.num_heads:
            raise ValueError(f"{self.num_heads} attention heads do not divide the {self.channels} side channels")
        self._check_taps()

    def _check_taps(self) -> None:
        total = sum(self.blocks)
        if self.taps:
            if len(self.taps) != total:
                raise ValueError(f"MODEL.SIDE.TAPS names {len(self.taps)} tower blocks for {total} side blocks")
            outside = [tap for tap in self.taps if not 0 <= tap < self.tower_depth]
            if outside:
                raise ValueError(
                    f"MODEL.SIDE.TAPS {outside} do not exist: the tower has the blocks 0 to {self.tower_depth - 1}"
                )
        else:
            ladder = total if self.topology == "sequential" else max(self.blocks)
            if ladder > self.tower_depth:
                raise ValueError(
                    f"MODEL.SIDE.BLOCKS {list(self.blocks)} needs {ladder} taps in order, the tower has "
                    f"{self.tower_depth} blocks; use fewer, or name MODEL.SIDE.TAPS"
                )

    @property
    def channels(self) -> int:
        """s."""
        return self.tower_dim // self.reduction

    @property
    def num_heads(self) -> int:
        return max(1, self.channels // self.head_size)

    def stage_taps(self) -> list[list[int]]:
        """Tower block of every side block, by stage."""
        if self.taps:
            flat = list(self.taps)
        elif self.topology == "sequential":
            flat = spread(sum(self.blocks), self.tower_depth)
        else:
            flat = [tap for count in self.blocks for tap in spread(count, self.tower_depth)]
        stages, start = [], 0
        for count in self.blocks:
            stages.append(flat[start : start + count])
            start += count
        return stages


def spread(count: int, depth: int) -> list[int]:
    """``count`` of ``depth`` blocks, evenly, ending at the last."""
    return [round((i + 1) * depth / count) - 1 for i in range(count)]


def _check_choice(key: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{key}: unknown value {value!r}; known: {list(known)}")
