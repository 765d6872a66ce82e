"""Transfer strategies: which parameters train, and where the pyramid comes from."""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from effowt_d2.modeling.layers.simple_pyramid import SimplePyramid
from effowt_d2.modeling.side.layout import SideLayout
from effowt_d2.modeling.side.network import SideNetwork
from effowt_d2.modeling.side.pruning import INITS, Kept, chance, magnitude, prune_into
from effowt_d2.modeling.tower.block_weights import BlockWeights
from effowt_d2.modeling.tower.tower import Tower

from .ownership import TrainedPart

_STRATEGIES: dict[str, type] = {}


def register_strategy(name: str):
    """Class decorator: make a strategy known under the name that MODEL.TRANSFER.STRATEGY gives.

    The class is built with ``(cfg, tower=tower)``.

    Raises:
        ValueError: the name is taken.
    """

    def register(strategy: type) -> type:
        if name in _STRATEGIES:
            raise ValueError(f"transfer strategy {name!r} is registered already, by {_STRATEGIES[name].__name__}")
        _STRATEGIES[name] = strategy
        return strategy

    return register


class TransferStrategy(nn.Module):
    """Base of the strategies. The tower belongs to the backbone; a strategy only says what it needs of it.

    Attributes:
        trains_tower: the tower is not frozen.
        taps: numbers of the tower blocks whose output :meth:`forward` gets.
    """

    trains_tower = False

    def __init__(self, *, taps: Sequence[int]):
        super().__init__()
        self.taps = tuple(taps)

    def forward(
        self, pixels: Tensor, taps: dict[int, Tensor], image_sizes: Sequence[tuple[int, int]] | None
    ) -> dict[str, Tensor]:
        """Pixels (B, 3, H, W) as the tower gets them and its taps (B, d, H/16, W/16) -> p2..p6."""
        raise NotImplementedError

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        """All parts of the backbone that train, by module object."""
        raise NotImplementedError


@register_strategy("zero_shot")
class ZeroShot(TransferStrategy):
    """The tower frozen, a simple feature pyramid on its last block."""

    @configurable
    def __init__(self, *, tower: Tower, out_channels: int):
        super().__init__(taps=[tower.depth - 1])
        self.neck = SimplePyramid(channels=tower.embed_dim, out_channels=out_channels)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, tower: Tower):
        return {"tower": tower, "out_channels": cfg.MODEL.TRANSFER.OUT_CHANNELS}

    def forward(self, pixels, taps, image_sizes):
        (last,) = self.taps
        return self.neck(taps[last], image_sizes, pixels.shape[-2:])

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        return [TrainedPart("neck", (self.neck,), "neck")]


@register_strategy("full")
class Full(ZeroShot):
    """As ``zero_shot``, with the tower trained too."""

    trains_tower = True

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        depth = tower.depth
        parts = [TrainedPart("tower embedding", tuple(tower.embedding()), "tower", depth)]
        parts += [TrainedPart(f"tower block {i}", (b,), "tower", depth - 1 - i) for i, b in enumerate(tower.blocks)]
        return parts + super().trained_parts(tower)


@register_strategy("side")
class Side(TransferStrategy):
    """EffOWT: the tower frozen, a side network on its taps.

    Args:
        tower: the tower.
        side: the side network.
        max_fraction: of the tower's parameters that the side network may hold; 0 for no limit.
        init: ``scratch``, or cut from the tower by ``l1``, ``random`` or ``fisher`` (which waits for :meth:`prune`).
        tap_init: down-projections start ``xavier``, or ``select`` the channels that the side network was cut from.
        seed: of ``random``.

    Raises:
        ValueError: the side network holds more, or an initialisation is unknown or does not fit.
    """

    @configurable
    def __init__(self, *, tower: Tower, side: SideNetwork, max_fraction: float, init: str, tap_init: str, seed: int):
        super().__init__(taps=sorted({tap for stage in side.layout.stage_taps() for tap in stage}))
        _check_init(init, tap_init)
        _check_budget(side, tower, max_fraction)
        self.side = side
        self.init = init
        self.select_taps = tap_init == "select"
        if init in ("l1", "random") and next(tower.parameters()).device.type != "meta":
            generator = torch.Generator().manual_seed(seed)
            measure = magnitude if init == "l1" else partial(chance, generator=generator)
            self.prune(tower, {tap: measure(tower.block_weights(tap)) for tap in self.taps})

    def prune(self, tower: Tower, importances: dict[int, BlockWeights]) -> list[Kept]:
        """Start the side network as a slice of the tower; for INIT ``fisher`` the trainer calls this.

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
        node = cfg.MODEL.SIDE
        layout = SideLayout(
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
        side = SideNetwork(
            layout=layout,
            out_channels=cfg.MODEL.TRANSFER.OUT_CHANNELS,
            conv=node.CONV,
            match_params=node.MATCH_PARAMS,
            windows=node.WINDOWS,
            recompute=node.CHECKPOINT,
            gate={"kind": node.GATE.KIND, "temperature": node.GATE.TEMPERATURE, "value": node.GATE.VALUE},
            sim=_sim_arguments(node),
            fusion_kind=node.FUSION.KIND,
            output_conv=node.FUSION.OUTPUT_CONV,
        )
        return {
            "tower": tower,
            "side": side,
            "max_fraction": node.MAX_FRACTION,
            "init": node.INIT,
            "tap_init": node.TAP_INIT,
            "seed": node.SEED,
        }

    def forward(self, pixels, taps, image_sizes):
        return self.side(pixels, taps, image_sizes)

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        return [TrainedPart("side network", (self.side,), "side")]


def _sim_arguments(node: CfgNode) -> dict:
    return {
        "kind": node.SIM.KIND,
        "axes": tuple(node.SIM.AXES),
        "groups": node.SIM.GROUPS,
        "max_range": node.SIM.RANGE,
        "fusion": node.SIM.FUSION,
        "coefficients": node.SIM.COEFFICIENTS,
        "resolution": node.SIM.RESOLUTION,
        "seed": node.SEED,
    }


def _check_init(init: str, tap_init: str) -> None:
    if init not in INITS:
        raise ValueError(f"MODEL.SIDE.INIT: unknown value {init!r}; known: {list(INITS)}")
    if tap_init not in ("xavier", "select"):
        raise ValueError(f"MODEL.SIDE.TAP_INIT: unknown value {tap_init!r}; known: ['select', 'xavier']")
    if tap_init == "select" and init == "scratch":
        raise ValueError("MODEL.SIDE.TAP_INIT select needs the channels that a pruning MODEL.SIDE.INIT keeps")


def _check_budget(side: SideNetwork, tower: Tower, max_fraction: float) -> None:
    size = parameter_count(side)
    limit = max_fraction * parameter_count(tower)
    if max_fraction and size > limit:
        parts = ", ".join(f"{k} {sum(map(parameter_count, modules)):,}" for k, modules in side.parts().items())
        raise ValueError(
            f"the side network holds {size:,} parameters, {size / parameter_count(tower):.3%} of the tower's; "
            f"MODEL.SIDE.MAX_FRACTION allows {max_fraction:.3%} ({int(limit):,}). Parts: {parts}"
        )


def parameter_count(module: nn.Module) -> int:
    """Number of parameters, trained or not."""
    return sum(p.numel() for p in module.parameters())


def build_strategy(cfg: CfgNode, tower: Tower) -> TransferStrategy:
    """The strategy that MODEL.TRANSFER.STRATEGY names."""
    return strategy_class(cfg)(cfg, tower=tower)


def strategy_class(cfg: CfgNode) -> type:
    """Its class.

    Raises:
        ValueError: the name is not registered.
    """
    name = cfg.MODEL.TRANSFER.STRATEGY
    if name not in _STRATEGIES:
        raise ValueError(f"MODEL.TRANSFER.STRATEGY: unknown strategy {name!r}; known: {sorted(_STRATEGIES)}")
    return _STRATEGIES[name]
