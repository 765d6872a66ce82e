"""The ReID head: an embedding of each box that distinguishes objects."""

from collections.abc import Sequence

import fvcore.nn.weight_init as weight_init
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from effowt_d2.tracking import Looks
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count

from .edges import poolable_maps

__all__ = ["ReIDHead"]


class ReIDHead(nn.Module):
    """RoI pooling, convolutions with GroupNorm, a fully connected layer, and a linear map to the embedding.

    Args:
        in_features: pyramid levels to pool from, finest first.
        feature_strides: pixels per cell of each.
        in_channels: channels of every level.
        dim: channels of the embedding [E].
        num_conv, conv_dim: number and width of the 3x3 convolutions.
        num_groups: groups of each GroupNorm.
        fc_dim: width of the fully connected layer.
        pooler_resolution, pooler_sampling_ratio, pooler_type: of the RoI pooling.

    Attributes:
        dim: E.
        token_channels, grid: channels of a box's map, and its side in cells.

    Raises:
        ValueError: a number out of range, or ``num_groups`` doesn't divide ``conv_dim``.
    """

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        feature_strides: Sequence[int],
        in_channels: int,
        dim: int = 256,
        num_conv: int = 4,
        conv_dim: int = 256,
        num_groups: int = 32,
        fc_dim: int = 1024,
        pooler_resolution: int = 7,
        pooler_sampling_ratio: int = 0,
        pooler_type: str = "ROIAlignV2",
    ):
        super().__init__()
        check_count("num_conv", num_conv, 0)
        counts = {"dim": dim, "conv_dim": conv_dim, "fc_dim": fc_dim, "pooler_resolution": pooler_resolution}
        for name, value in counts.items():
            check_count(name, value)
        if num_groups < 1 or conv_dim % num_groups:
            raise bad_argument("num_groups", f"must divide conv_dim, {conv_dim}, got {num_groups}")
        self.in_features = list(in_features)
        self.feature_strides = list(feature_strides)
        self.pooler = ROIPooler(
            output_size=pooler_resolution,
            scales=[1.0 / stride for stride in feature_strides],
            sampling_ratio=pooler_sampling_ratio,
            pooler_type=pooler_type,
        )
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(num_conv):
            conv = nn.Conv2d(channels, conv_dim, 3, padding=1, bias=False)
            weight_init.c2_msra_fill(conv)
            layers += [conv, nn.GroupNorm(num_groups, conv_dim), nn.ReLU(inplace=True)]
            channels = conv_dim
        self.convs = nn.Sequential(*layers)
        self.dim, self.token_channels, self.grid = dim, channels, pooler_resolution
        fc = nn.Linear(channels * pooler_resolution**2, fc_dim)
        weight_init.c2_xavier_fill(fc)
        self.fc = nn.Sequential(nn.Flatten(), fc, nn.ReLU(inplace=True))
        self.embed = nn.Linear(fc_dim, dim)
        nn.init.normal_(self.embed.weight, std=0.01)
        nn.init.zeros_(self.embed.bias)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        reid, in_features = cfg.MODEL.REID, cfg.MODEL.ROI_HEADS.IN_FEATURES
        channels = {f: input_shape[f].channels for f in in_features}
        if len(set(channels.values())) != 1:
            raise ValueError(f"MODEL.ROI_HEADS.IN_FEATURES: levels of equal width are needed, got channels {channels}")
        return {
            "in_features": in_features,
            "feature_strides": [input_shape[f].stride for f in in_features],
            "in_channels": channels[in_features[0]],
            "dim": reid.DIM,
            "num_conv": reid.NUM_CONV,
            "conv_dim": reid.CONV_DIM,
            "num_groups": reid.NUM_GROUPS,
            "fc_dim": reid.FC_DIM,
            "pooler_resolution": reid.POOLER_RESOLUTION,
            "pooler_sampling_ratio": cfg.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO,
            "pooler_type": cfg.MODEL.ROI_BOX_HEAD.POOLER_TYPE,
        }

    def forward(
        self, features: dict[str, Tensor], boxes: list[Boxes], image_sizes: list[tuple[int, int]]
    ) -> list[Tensor]:
        """
        Args:
            features: (B, C, Hi, Wi) maps by name.
            boxes: per image Ri boxes, x1, y1, x2, y2 in pixels of the network's input, inside the image.
            image_sizes: (height, width) in pixels of each image on the padded canvas.

        Returns:
            Per image (Ri, E), not normalised. Without any box, empty ones that still carry a graph.
        """
        return [looks.embeddings for looks in self.looks(features, boxes, image_sizes)]

    def looks(self, features: dict[str, Tensor], boxes: list[Boxes], image_sizes: list[tuple[int, int]]) -> list[Looks]:
        """As :meth:`forward`, with the cells of each box's map as tokens (Ri, resolution ** 2, conv_dim)."""
        maps = poolable_maps(features, self.in_features, self.feature_strides, image_sizes)
        cells = self.convs(self.pooler(maps, boxes))
        counts = [len(b) for b in boxes]
        embeddings, tokens = self.embed(self.fc(cells)), cells.flatten(2).transpose(1, 2)
        return [Looks(*pair) for pair in zip(embeddings.split(counts), tokens.split(counts))]
