"""Necks: pyramids from the taps of a tower, by name."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from effowt_d2.modeling.layers.levels import LEVELS
from effowt_d2.modeling.layers.simple_pyramid import SimplePyramid
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.registry import Registry

from .ownership import TrainedPart

__all__ = [
    "PRESETS",
    "STRATEGIES",
    "Transfer",
    "TransferStrategy",
    "build_strategy",
    "preset_names",
    "register_strategy",
    "strategy_class",
    "transfer_of",
]

STRATEGIES: Registry[type["TransferStrategy"]] = Registry("necks", argument="neck")

register_strategy = STRATEGIES.register
"""Class decorator: make a neck known under the name that MODEL.TRANSFER.NECK or MODEL.TRANSFER.STRATEGY gives. The class
is built with ``(cfg, tower=tower)``."""


class TransferStrategy(nn.Module):
    """Base of the necks. The tower belongs to the backbone; a neck only declares what it needs of it.

    Attributes:
        needs_samples: :meth:`initialise` requires labelled training samples.
        config_node: where the keys of the constructor's arguments stand.
        taps: numbers of the tower blocks whose output :meth:`forward` gets.
    """

    needs_samples = False
    config_node = "MODEL.TRANSFER"

    def __init__(self, *, taps: Sequence[int]):
        super().__init__()
        self.taps = tuple(taps)

    def forward(
        self, pixels: Tensor, taps: dict[int, Tensor], image_sizes: Sequence[tuple[int, int]] | None
    ) -> dict[str, Tensor]:
        """Pixels (B, 3, H, W) as the tower gets them and its taps (B, d, H/16, W/16) -> levels by name.

        A coarse level may be omitted, if it is to be every second cell of the level before it.
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
        """All parts of the neck that train, by module object; those of the tower are the backbone's."""
        raise NotImplementedError

    @classmethod
    def chosen_parts(cls, cfg: CfgNode) -> dict:
        """Looks up the parts that the config names, so that an unknown name is an error before a tower is built.

        Raises:
            ValueError: a name is not registered; the message names the key and what is.
        """
        return {}


@register_strategy("pyramid")
class Pyramid(TransferStrategy):
    """A simple feature pyramid on the tower's last block."""

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


def build_strategy(cfg: CfgNode, tower: Tower) -> TransferStrategy:
    """The neck that the config chooses.

    Raises:
        ValueError: the name is not registered, or the config doesn't fit; the message names the key.
    """
    strategy = strategy_class(cfg)
    with config_keys(strategy.config_node, lr_factor="SOLVER.SIDE_LR_FACTOR"):
        return strategy(cfg, tower=tower)


def strategy_class(cfg: CfgNode) -> type[TransferStrategy]:
    """Its class.

    Raises:
        ValueError: the name is not registered.
    """
    with config_keys("MODEL.TRANSFER"):
        return STRATEGIES.get(transfer_of(cfg).neck)


class Transfer(NamedTuple):
    """PEFT method and neck of a model.

    Attributes:
        method: what trains inside it, a PEFT method by name.
        neck: where the pyramid comes from, by name.
    """

    method: str
    neck: str


PRESETS = {
    "zero_shot": Transfer("none", "pyramid"),
    "full": Transfer("full", "pyramid"),
    "side": Transfer("none", "side"),
}
"""What the names of MODEL.TRANSFER.STRATEGY stand for; the name of a neck stands for it and PEFT method ``none``."""


def preset_names() -> list[str]:
    """All that MODEL.TRANSFER.STRATEGY can be."""
    return sorted({*PRESETS, *STRATEGIES.names()})


def transfer_of(cfg: CfgNode) -> Transfer:
    """PEFT method and neck of the config: the preset, with the keys that override it.

    Raises:
        ValueError: there is no such preset.
    """
    name = cfg.MODEL.TRANSFER.STRATEGY
    if name not in preset_names():
        raise ValueError(f"MODEL.TRANSFER.STRATEGY: must be one of {preset_names()}, got {name!r}")
    preset = PRESETS.get(name, Transfer("none", name))
    return Transfer(cfg.MODEL.PEFT.METHOD or preset.method, cfg.MODEL.TRANSFER.NECK or preset.neck)
