"""Transfer strategies: which parameters train, and where the pyramid comes from."""

from collections.abc import Iterable, Sequence

from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from effowt_d2.modeling.layers.levels import LEVELS
from effowt_d2.modeling.layers.simple_pyramid import SimplePyramid
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_number
from effowt_d2.utils.registry import Registry

from .ownership import TrainedPart

__all__ = ["STRATEGIES", "TransferStrategy", "build_strategy", "register_strategy", "strategy_class"]

STRATEGIES: Registry[type["TransferStrategy"]] = Registry("transfer strategies", argument="strategy")

register_strategy = STRATEGIES.register
"""Class decorator: make a strategy known under the name that MODEL.TRANSFER.STRATEGY gives. The class is built with
``(cfg, tower=tower)``."""


class TransferStrategy(nn.Module):
    """Base of the strategies. The tower belongs to the backbone; a strategy only says what it needs of it.

    Attributes:
        trains_tower: the tower is not frozen.
        needs_samples: :meth:`initialise` wants labelled training samples.
        config_node: where the keys of the constructor's arguments stand.
        taps: numbers of the tower blocks whose output :meth:`forward` gets.
    """

    trains_tower = False
    needs_samples = False
    config_node = "MODEL.TRANSFER"

    def __init__(self, *, taps: Sequence[int]):
        super().__init__()
        self.taps = tuple(taps)

    def forward(
        self, pixels: Tensor, taps: dict[int, Tensor], image_sizes: Sequence[tuple[int, int]] | None
    ) -> dict[str, Tensor]:
        """Pixels (B, 3, H, W) as the tower gets them and its taps (B, d, H/16, W/16) -> levels by name.

        A coarse level may be left out, if it is to be every second cell of the level before it.
        """
        raise NotImplementedError

    def initialise(self, tower: Tower, samples: Iterable[dict] | None = None) -> None:
        """Set the weights that training starts from, where they depend on the tower.

        Args:
            tower: the tower, which is left as it is.
            samples: labelled training samples, without end. A strategy with :attr:`needs_samples` gets them from the
                trainer, unless weights are loaded.
        """

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        """All parts of the backbone that train, by module object."""
        raise NotImplementedError

    @classmethod
    def chosen_parts(cls, cfg: CfgNode) -> dict:
        """What the config chooses by name, without a tower, so that an unknown name is known before one is built.

        Raises:
            ValueError: a name is not registered; the message names the key and what is.
        """
        return {}


@register_strategy("zero_shot")
class ZeroShot(TransferStrategy):
    """The tower frozen, a simple feature pyramid on its last block."""

    @configurable
    def __init__(self, *, tower: Tower, out_channels: int = 256, levels: Sequence[str] = tuple(LEVELS)):
        super().__init__(taps=[tower.depth - 1])
        self.neck = SimplePyramid(channels=tower.embed_dim, out_channels=out_channels, levels=levels)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, tower: Tower):
        transfer = cfg.MODEL.TRANSFER
        return {"tower": tower, "out_channels": transfer.OUT_CHANNELS, "levels": transfer.LEVELS}

    def forward(self, pixels, taps, image_sizes):
        (last,) = self.taps
        return self.neck(taps[last], image_sizes, pixels.shape[-2:])

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        return [TrainedPart("neck", (self.neck,))]


@register_strategy("full")
class Full(ZeroShot):
    """As ``zero_shot``, with the tower trained too.

    Args:
        tower_lr_factor: learning rate of the tower, as a multiple of the base rate.
    """

    trains_tower = True

    @configurable
    def __init__(self, *, tower_lr_factor: float = 1.0, **neck):
        super().__init__(**neck)
        self.tower_lr_factor = check_number("tower_lr_factor", tower_lr_factor)

    @classmethod
    def from_config(cls, cfg: CfgNode, *, tower: Tower):
        return {**super().from_config(cfg, tower=tower), "tower_lr_factor": cfg.SOLVER.TOWER_LR_FACTOR}

    def trained_parts(self, tower: Tower) -> list[TrainedPart]:
        layers = [tuple(tower.embedding()), *((block,) for block in tower.blocks)]
        behind = range(tower.depth, -1, -1)
        parts = [TrainedPart("tower", layer, self.tower_lr_factor, depth) for layer, depth in zip(layers, behind)]
        return parts + super().trained_parts(tower)


def build_strategy(cfg: CfgNode, tower: Tower) -> TransferStrategy:
    """The strategy that MODEL.TRANSFER.STRATEGY names.

    Raises:
        ValueError: the name is not registered, or the config doesn't fit; the message names the key.
    """
    strategy = strategy_class(cfg)
    keys = {"lr_factor": "SOLVER.SIDE_LR_FACTOR", "tower_lr_factor": "SOLVER.TOWER_LR_FACTOR"}
    with config_keys(strategy.config_node, **keys):
        return strategy(cfg, tower=tower)


def strategy_class(cfg: CfgNode) -> type[TransferStrategy]:
    """Its class.

    Raises:
        ValueError: the name is not registered.
    """
    with config_keys("MODEL.TRANSFER"):
        return STRATEGIES.get(cfg.MODEL.TRANSFER.STRATEGY)
