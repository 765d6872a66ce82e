"""The neck ``side``, EffOWT: a side network on the tower's taps."""

from collections.abc import Callable, Iterable
from functools import partial

from detectron2.config import CfgNode, configurable

from effowt_d2.modeling.side.block import SideBlock
from effowt_d2.modeling.side.fusion import FUSIONS
from effowt_d2.modeling.side.gate import GATES
from effowt_d2.modeling.side.initialisation import INITS, Initialisation, Scratch
from effowt_d2.modeling.side.layout import SideLayout
from effowt_d2.modeling.side.network import SideNetwork
from effowt_d2.modeling.side.pruning import Kept, prune_into
from effowt_d2.modeling.side.sparse_interaction import interaction_from_config
from effowt_d2.modeling.side.topology import TOPOLOGIES
from effowt_d2.modeling.tower.block_weights import BlockWeights
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_number

from .ownership import TrainedPart, parameter_count
from .strategy import TransferStrategy, register_strategy

__all__ = ["Side"]

TAP_INITS = ("xavier", "select")


@register_strategy("side")
class Side(TransferStrategy):
    """A side network on the tower's taps.

    Args:
        tower: the tower.
        side: the side network.
        lr_factor: its learning rate, as a multiple of the base rate.
        max_fraction: of the tower's parameters that the side network may hold; 0 for no limit.
        init: what the side network starts from.
        tap_init: down-projections start ``xavier``, or ``select`` the channels that the side network was cut from.

    Raises:
        ValueError: the side network holds more, or an initialisation is unknown or does not fit.
    """

    config_node = "MODEL.SIDE"
    block: Callable[..., SideBlock] = SideBlock

    @configurable
    def __init__(
        self,
        *,
        tower: Tower,
        side: SideNetwork,
        lr_factor: float = 1.0,
        max_fraction: float = 0.0,
        init: Initialisation | None = None,
        tap_init: str = "xavier",
    ):
        super().__init__(taps=sorted({tap for stage in side.layout.stage_taps() for tap in stage}))
        self.init = init or Scratch()
        if tap_init not in TAP_INITS:
            raise bad_argument("tap_init", f"must be one of {list(TAP_INITS)}, got {tap_init!r}")
        if tap_init == "select" and isinstance(self.init, Scratch):
            raise bad_argument("tap_init", "select needs the channels that a pruning init keeps, got init scratch")
        _check_budget(side, tower, max_fraction)
        self.side = side
        self.lr_factor = check_number("lr_factor", lr_factor)
        self.select_taps = tap_init == "select"
        self.needs_samples = self.init.needs_samples
        if not self.needs_samples and next(tower.parameters()).device.type != "meta":
            self.initialise(tower)

    def initialise(self, tower: Tower, samples: Iterable[dict] | None = None) -> None:
        """See :meth:`TransferStrategy.initialise`."""
        importances = self.init.importances(tower, self.taps, samples)
        if importances is not None:
            self.prune(tower, importances)

    def prune(self, tower: Tower, importances: dict[int, BlockWeights]) -> list[Kept]:
        """Start the side network as a slice of the tower.

        Args:
            tower: the tower.
            importances: of its weights, by the number of the block, for all taps.
        """
        return prune_into(
            self.side,
            {tap: tower.block_weights(tap) for tap in self.taps},
            {tap: tower.block_vectors(tap) for tap in self.taps},
            importances,
            tower_heads=tower.num_heads,
            select_taps=self.select_taps,
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, *, tower: Tower):
        node, transfer = cfg.MODEL.SIDE, cfg.MODEL.TRANSFER
        chosen = cls.chosen_parts(cfg)
        init = chosen.pop("init")
        with config_keys("MODEL.SIDE", recompute="MODEL.SIDE.CHECKPOINT", sim_scales="MODEL.SIDE.SIM.SCALES"):
            side = SideNetwork(
                layout=cls.layout(cfg, tower),
                out_channels=transfer.OUT_CHANNELS,
                levels=transfer.LEVELS,
                windows=node.WINDOWS,
                recompute=node.CHECKPOINT,
                block=cls.block,
                **chosen,
            )
        return {
            "tower": tower,
            "side": side,
            "lr_factor": cfg.SOLVER.SIDE_LR_FACTOR,
            "max_fraction": node.MAX_FRACTION,
            "init": init(**init.from_config(cfg)),
            "tap_init": node.TAP_INIT,
        }

    @classmethod
    def chosen_parts(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.SIDE
        with config_keys("MODEL.SIDE"):
            TOPOLOGIES.get(node.TOPOLOGY)
            init = INITS.get(node.INIT)
        return {
            "init": init,
            "gate": _part(GATES, "MODEL.SIDE.GATE", node.GATE.KIND, cfg),
            "interaction": interaction_from_config(cfg),
            "fusion": _part(FUSIONS, "MODEL.SIDE.FUSION", node.FUSION.KIND, cfg),
        }

    @classmethod
    def layout(cls, cfg: CfgNode, tower: Tower) -> SideLayout:
        """The layout that the config describes for a tower."""
        node = cfg.MODEL.SIDE
        return SideLayout(
            tower_dim=tower.embed_dim,
            tower_depth=tower.depth,
            head_size=tower.embed_dim // tower.num_heads,
            reduction=node.REDUCTION,
            topology=node.TOPOLOGY,
            blocks=tuple(node.BLOCKS),
            mlp_ratio=tuple(node.MLP_RATIO),
            taps=tuple(node.TAPS),
            tap_sharing=node.TAP_SHARING,
            sim_scales=tuple(node.SIM.SCALES),
        )

    def forward(self, pixels, taps, image_sizes):
        return self.side(pixels, taps, image_sizes)

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        return [TrainedPart("side", (self.side,), self.lr_factor)]


def _part(registry, node: str, kind: str, cfg: CfgNode) -> Callable:
    """Factory of a registered part from the arguments that the config does not give."""
    with config_keys(node):
        part = registry.get(kind)
    return config_keys(node)(partial(part, **part.from_config(cfg)))


def _check_budget(side: SideNetwork, tower: Tower, max_fraction: float) -> None:
    check_number("max_fraction", max_fraction)
    size, whole = parameter_count(side), parameter_count(tower)
    if max_fraction and size > max_fraction * whole:
        parts = ", ".join(f"{k} {sum(map(parameter_count, modules)):,}" for k, modules in side.parts().items())
        raise bad_argument(
            "max_fraction",
            f"{max_fraction:.3%} allows {int(max_fraction * whole):,} parameters, the side network holds {size:,}, "
            f"{size / whole:.3%} of the tower's. Parts: {parts}",
        )
