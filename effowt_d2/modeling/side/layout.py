"""Sizes of a side network, checked before any module is built."""

from dataclasses import dataclass

from effowt_d2.utils.arguments import bad_argument

from .topology import TOPOLOGIES, Sequential

STRIDES = (4, 8, 16)
TAP_SHARINGS = ("tap", "stage", "all")


@dataclass(frozen=True)
class SideLayout:
    """Width, depth and taps of a side network.

    Args:
        tower_dim: d, channels of the taps.
        tower_depth: blocks of the tower.
        head_size: channels of one attention head of the tower, kept where it divides the width.
        reduction: r; the width is s = d / r.
        topology: how the stages hang together, by its name in ``TOPOLOGIES``: ``sequential``, one ladder through all.
        blocks: blocks at strides 4, 8, 16, at least one each.
        mlp_ratio: rho, hidden expansion of the dense MLP at each stride.
        taps: tower blocks feeding the side blocks, in side order; empty spreads them evenly, ending at the last.
        tap_sharing: a down-projection per ``tap``, per ``stage``, or one for ``all``.
        sim_scales: strides whose blocks mix sparsely.

    Raises:
        ValueError: the numbers do not fit together; the message gives them and the reason.
    """

    tower_dim: int
    tower_depth: int
    head_size: int
    reduction: int = 4
    topology: str = "sequential"
    blocks: tuple[int, ...] = (3, 2, 1)
    mlp_ratio: tuple[float, ...] = (4, 2, 1)
    taps: tuple[int, ...] = ()
    tap_sharing: str = "stage"
    sim_scales: tuple[int, ...] = (4,)

    def __post_init__(self):
        TOPOLOGIES.get(self.topology)
        if self.tap_sharing not in TAP_SHARINGS:
            raise bad_argument("tap_sharing", f"must be one of {list(TAP_SHARINGS)}, got {self.tap_sharing!r}")
        if self.reduction < 1 or self.tower_dim % self.reduction:
            raise bad_argument("reduction", f"must divide the {self.tower_dim} channels, got {self.reduction}")
        for name in ("blocks", "mlp_ratio"):
            values = getattr(self, name)
            if len(values) != len(STRIDES) or min(values) <= 0:
                raise bad_argument(
                    name, f"must have a positive number for each of the strides {STRIDES}, got {list(values)}"
                )
        absent = [scale for scale in self.sim_scales if scale not in STRIDES]
        if absent:
            raise bad_argument("sim_scales", f"{absent} do not exist; the strides are {list(STRIDES)}")
        if self.channels % self.num_heads:
            raise bad_argument(
                "reduction",
                f"{self.reduction} gives {self.channels} side channels, which {self.num_heads} attention heads do not "
                "divide",
            )
        self._check_taps()

    def _check_taps(self) -> None:
        total = sum(self.blocks)
        if self.taps:
            if len(self.taps) != total:
                raise bad_argument("taps", f"must name a tower block for each of {total} side blocks, got {self.taps}")
            outside = [tap for tap in self.taps if tap not in range(self.tower_depth)]
            if outside:
                raise bad_argument("taps", f"{outside} do not exist: the tower has blocks 0 to {self.tower_depth - 1}")
        else:
            longest = self._topology.longest(self.blocks)
            if longest > self.tower_depth:
                raise bad_argument(
                    "blocks",
                    f"{list(self.blocks)} need {longest} taps in order, but the tower has {self.tower_depth} blocks; "
                    "use fewer, or name the taps",
                )

    @property
    def _topology(self) -> type[Sequential]:
        return TOPOLOGIES.get(self.topology)

    @property
    def channels(self) -> int:
        """s."""
        return self.tower_dim // self.reduction

    @property
    def num_heads(self) -> int:
        return max(1, self.channels // self.head_size)

    def hidden(self, stage: int) -> int:
        """Hidden units of the dense MLP at a stage."""
        return round(self.mlp_ratio[stage] * self.channels)

    def stage_taps(self) -> list[list[int]]:
        """Tower block of every side block, by stage."""
        flat = list(self.taps) or self._topology.taps(self.blocks, self.tower_depth)
        stages, start = [], 0
        for count in self.blocks:
            stages.append(flat[start : start + count])
            start += count
        return stages
