"""The Detectron2 backbone: a tower and a neck."""

from collections.abc import Iterable, Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor

from effowt_d2.modeling.layers.levels import LEVELS, check_levels, with_coarser
from effowt_d2.modeling.layers.masks import valid_mask
from effowt_d2.modeling.peft import log_gates
from effowt_d2.modeling.tokens import TokenReduction, reduction_from_config
from effowt_d2.modeling.tower.tower import STRIDE, Tower
from effowt_d2.modeling.transfer.ownership import TrainedPart, tower_parts
from effowt_d2.modeling.transfer.strategy import TransferStrategy, build_strategy
from effowt_d2.modeling.transfer.towers import tower_from_config
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_count, check_number

DIVISIBILITY = 32


class EffOWTBackbone(Backbone):
    """A feature pyramid for any Detectron2 meta-architecture.

    The meta-architecture normalises pixels by its own ``MODEL.PIXEL_MEAN`` and ``MODEL.PIXEL_STD``; here that is undone
    and the tower's own normalisation applied, so that stock configs work unchanged.

    Args:
        tower: the tower.
        strategy: the strategy.
        reduction: of the tower's tokens; from here on it is one of the tower's companions. None for all tokens.
        out_channels: of each level.
        levels: that come out, of p2 to p7.
        pixel_mean, pixel_std: of the incoming pixels' normalisation, in the order of their channels, for 0..255.
        input_format: ``BGR`` or ``RGB``, that order.
        tower_lr_factor, peft_lr_factor: learning rates of the tower, where it trains, and of what is attached to it, as
            multiples of the base rate.

    The tower is finalised here, or in :meth:`initialise` where the strategy waits for samples, or when weights are loaded.

    Raises:
        ValueError: an unknown level or format, no channels, or a tower of another stride than 16.

    Attributes:
        takes_image_sizes: whether :meth:`forward` can mask padding; read by :class:`OpenWorldTracker`.
    """

    takes_image_sizes = True

    @configurable
    def __init__(
        self,
        *,
        tower: Tower,
        strategy: TransferStrategy,
        reduction: TokenReduction | None = None,
        out_channels: int = 256,
        levels: Sequence[str] = tuple(LEVELS),
        pixel_mean: Sequence[float] = (103.530, 116.280, 123.675),
        pixel_std: Sequence[float] = (1.0, 1.0, 1.0),
        input_format: str = "BGR",
        tower_lr_factor: float = 1.0,
        peft_lr_factor: float = 1.0,
    ):
        super().__init__()
        if input_format not in ("BGR", "RGB"):
            raise bad_argument("input_format", f"must be BGR or RGB, got {input_format!r}")
        if tower.stride != STRIDE:
            raise bad_argument("stride", f"must be {STRIDE} under a pyramid, the tower has {tower.stride}")
        self.tower = tower
        self.strategy = strategy
        if reduction is not None:
            reduction.check_taps(strategy.taps)
            tower.companions["tokens"] = reduction
        if not strategy.needs_samples:
            tower.finalise()
        self.register_load_state_dict_post_hook(_finalise_tower)
        check_count("out_channels", out_channels)
        self.lr_factors = {
            "tower_lr_factor": check_number("tower_lr_factor", tower_lr_factor),
            "peft_lr_factor": check_number("peft_lr_factor", peft_lr_factor),
        }
        self._out_features = list(check_levels(levels))
        self._out_feature_strides = {name: LEVELS[name] for name in self._out_features}
        self._out_feature_channels = {name: out_channels for name in self._out_features}
        self._reverse = input_format == "BGR"
        order = slice(None, None, -1) if self._reverse else slice(None)
        mean = torch.tensor(list(pixel_mean)[order]) / 255
        std = torch.tensor(list(pixel_std)[order]) / 255
        tower_mean, tower_std = torch.tensor(tower.pixel_mean), torch.tensor(tower.pixel_std)
        self.register_buffer("pixel_scale", (std / tower_std).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_shift", ((mean - tower_mean) / tower_std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode):
        levels = check_levels(cfg.MODEL.TRANSFER.LEVELS)
        out_channels = check_count("out_channels", cfg.MODEL.TRANSFER.OUT_CHANNELS)
        tower = tower_from_config(cfg)
        return {
            "tower": tower,
            "strategy": build_strategy(cfg, tower),
            "reduction": reduction_from_config(cfg, tower),
            "out_channels": out_channels,
            "levels": levels,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
            "tower_lr_factor": cfg.SOLVER.TOWER_LR_FACTOR,
            "peft_lr_factor": cfg.SOLVER.PEFT_LR_FACTOR,
        }

    @property
    def size_divisibility(self) -> int:
        return DIVISIBILITY

    def trained_parts(self) -> list[TrainedPart]:
        """All parts of the backbone that train, by module object."""
        return tower_parts(self.tower, **self.lr_factors) + self.strategy.trained_parts(self.tower)

    @property
    def needs_samples(self) -> bool:
        """Whether :meth:`initialise` requires labelled training samples."""
        return self.strategy.needs_samples

    def initialise(self, samples: Iterable[dict] | None = None) -> None:
        """Set the weights that training starts from; see :meth:`TransferStrategy.initialise`."""
        self.strategy.initialise(self.tower, samples)
        self.tower.finalise()

    def forward(self, x: Tensor, image_sizes: Sequence[tuple[int, int]] | None = None) -> dict[str, Tensor]:
        """
        Args:
            x: (B, 3, H, W) pixels as the meta-architecture normalised them; H and W are multiples of 32.
            image_sizes: (height, width) of each image on the canvas; with them, what comes out for an image does not
                depend on its padding. None takes the whole canvas for image, as stock meta-architectures need it.

        Returns:
            The levels by name: (B, out_channels, H / stride, W / stride), rounded up, strides 4 (p2) to 128 (p7).
        """
        canvas = x.shape[-2:]
        if canvas[0] % DIVISIBILITY or canvas[1] % DIVISIBILITY:
            raise ValueError(f"the backbone needs sides that are multiples of {DIVISIBILITY}, got {tuple(canvas)}")
        pixels = (x.flip(1) if self._reverse else x) * self.pixel_scale + self.pixel_shift
        inside = valid_mask(image_sizes, canvas, 1, x.device)
        if inside is not None:
            pixels = pixels * inside[:, None]
        numbers = self.strategy.taps
        mask = valid_mask(image_sizes, canvas, STRIDE, x.device)
        taps = self.tower(pixels, mask, taps=numbers)
        if self.training:
            log_gates(self.tower)
        levels = self.strategy(pixels, dict(zip(numbers, taps)), image_sizes)
        # RoI pooling uses the dtype of the feature maps, and bfloat16 places them to 4 pixels in 1024
        levels = {name: x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for name, x in levels.items()}
        return with_coarser(levels, self._out_features)


def _finalise_tower(backbone: EffOWTBackbone, *_) -> None:
    """Weights were loaded, so nothing is cut out of the tower any more."""
    backbone.tower.finalise()


@BACKBONE_REGISTRY.register()
def build_effowt_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> EffOWTBackbone:
    """The backbone of a config, see ``effowt_d2.add_effowt_config``.

    Raises:
        ValueError: the input has other than three channels, or the config names something that does not exist.
    """
    if input_shape.channels != 3:
        raise ValueError(f"the tower takes 3 channels, MODEL.PIXEL_MEAN has {input_shape.channels}")
    factors = {name: f"SOLVER.{name.upper()}" for name in ("tower_lr_factor", "peft_lr_factor")}
    with config_keys(
        "MODEL.TRANSFER",
        stride="MODEL.VLM.STRIDE",
        input_format="INPUT.FORMAT",
        blocks="MODEL.TOKENS.BLOCKS",
        **factors,
    ):
        return EffOWTBackbone(cfg)
