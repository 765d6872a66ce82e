"""The Detectron2 backbone: a tower and the strategy that carries it to detection."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor

from effowt_d2.modeling.layers.masks import valid_mask
from effowt_d2.modeling.tower.builder import build_tower
from effowt_d2.modeling.tower.tower import STRIDE, Tower
from effowt_d2.modeling.transfer.ownership import TrainedPart
from effowt_d2.modeling.transfer.strategy import TransferStrategy, build_strategy, strategy_class

LEVEL_STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}
DIVISIBILITY = 32


class EffOWTBackbone(Backbone):
    """p2..p7 for any Detectron2 meta-architecture: p2..p6 of the strategy, and p7, which dense detectors ask for.

    The meta-architecture normalises pixels by its own ``MODEL.PIXEL_MEAN`` and ``MODEL.PIXEL_STD``; here that is undone
    and the tower's own normalisation applied, so that stock configs work unchanged.

    Args:
        tower: the tower.
        strategy: the strategy.
        out_channels: of each level.
        pixel_mean, pixel_std: of the incoming pixels' normalisation, in the order of their channels, for 0..255.
        input_format: ``BGR`` or ``RGB``, that order.

    Attributes:
        takes_image_sizes: tells our meta-architecture that :meth:`forward` can blind itself to padding.
    """

    takes_image_sizes = True

    @configurable
    def __init__(
        self,
        *,
        tower: Tower,
        strategy: TransferStrategy,
        out_channels: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str,
    ):
        super().__init__()
        if input_format not in ("BGR", "RGB"):
            raise ValueError(f"INPUT.FORMAT: expected BGR or RGB, got {input_format!r}")
        self.tower = tower
        self.strategy = strategy
        self._out_features = list(LEVEL_STRIDES)
        self._out_feature_strides = dict(LEVEL_STRIDES)
        self._out_feature_channels = {name: out_channels for name in LEVEL_STRIDES}
        self._reverse = input_format == "BGR"
        order = slice(None, None, -1) if self._reverse else slice(None)
        mean = torch.tensor(list(pixel_mean)[order]) / 255
        std = torch.tensor(list(pixel_std)[order]) / 255
        tower_mean, tower_std = torch.tensor(tower.pixel_mean), torch.tensor(tower.pixel_std)
        self.register_buffer("pixel_scale", (std / tower_std).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_shift", ((mean - tower_mean) / tower_std).view(-1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode):
        vlm = cfg.MODEL.VLM
        frozen = not strategy_class(cfg).trains_tower
        tower = build_tower(
            vlm.NAME,
            vlm.WEIGHTS,
            allow_random=vlm.ALLOW_RANDOM,
            canvas=vlm.CANVAS,
            frozen=frozen,
            window=vlm.WINDOW,
            global_blocks=list(vlm.GLOBAL_BLOCKS),
            precision=vlm.PRECISION,
            compile_backend=vlm.COMPILE,
            drop_relative_positions=vlm.DROP_RELATIVE_POSITIONS,
            unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE,
        )
        return {
            "tower": tower,
            "strategy": build_strategy(cfg, tower),
            "out_channels": cfg.MODEL.TRANSFER.OUT_CHANNELS,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "input_format": cfg.INPUT.FORMAT,
        }

    @property
    def size_divisibility(self) -> int:
        return DIVISIBILITY

    def trained_parts(self) -> list[TrainedPart]:
        """All parts of the backbone that train, by module object."""
        return self.strategy.trained_parts(self.tower)

    def forward(self, x: Tensor, image_sizes: Sequence[tuple[int, int]] | None = None) -> dict[str, Tensor]:
        """
        Args:
            x: (B, 3, H, W) pixels as the meta-architecture normalised them; H and W are multiples of 32.
            image_sizes: (height, width) of each image on the canvas; with them, what comes out for an image does not
                depend on its padding. None takes the whole canvas for image, as stock meta-architectures need it.

        Returns:
            p2..p7: (B, out_channels, H / stride, W / stride), rounded up, strides 4 to 128.
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
        levels = self.strategy(pixels, dict(zip(numbers, taps)), image_sizes)
        # boxes are pooled in the number format of the maps, and bfloat16 places them to 4 pixels in 1024
        levels = {name: x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for name, x in levels.items()}
        # every second cell, as p6 is of p5: a view that costs nothing where nobody reads it
        levels["p7"] = levels["p6"][..., ::2, ::2]
        return levels


@BACKBONE_REGISTRY.register()
def build_effowt_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> EffOWTBackbone:
    """The backbone of a config, see ``effowt_d2.add_effowt_config``.

    Raises:
        ValueError: the input has other than three channels, or the config names something that does not exist.
    """
    if input_shape.channels != 3:
        raise ValueError(f"the tower takes 3 channels, MODEL.PIXEL_MEAN has {input_shape.channels}")
    return EffOWTBackbone(cfg)
