"""Fusion of the side stages into pyramid levels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.layers.masks import apply_mask, masked_resize
from effowt_d2.modeling.layers.norms import channel_norm
from effowt_d2.modeling.layers.recompute import recomputed
from effowt_d2.utils.registry import Registry

from .block import depthwise

__all__ = ["FUSIONS", "StageFusion", "WeightedFusion"]

FUSIONS: Registry[type["StageFusion"]] = Registry("fusions")
EPS = 1e-4


class StageFusion(nn.Module):
    """Base: every level is a weighted sum of stages, resized to it.

    F_l = sum_k w_lk R_{k->l}(P_k), with P_k a 1x1 convolution of stage k and w from :meth:`weights`.

    Args:
        channels: s, of the stages.
        out_channels: of the levels.
        num_stages: how many stages there are, each with a level of its size.
        levels: numbers of the levels that are made, fine to coarse.
        output_conv: depthwise 3x3 + 1x1 + LayerNorm after the sum.
    """

    def __init__(
        self,
        *,
        channels: int,
        out_channels: int = 256,
        num_stages: int = 3,
        levels: Sequence[int] = (0, 1, 2),
        output_conv: bool = True,
    ):
        super().__init__()
        self.num_stages = num_stages
        self.levels = tuple(levels)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for _ in self.sources())
        self._add_weights()
        self.outputs = nn.ModuleDict(
            {
                str(level): nn.Sequential(
                    depthwise(out_channels), nn.Conv2d(out_channels, out_channels, 1), channel_norm(out_channels)
                )
                for level in (self.levels if output_conv else ())
            }
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor that do not follow from the rest of the side network."""
        return {"output_conv": cfg.MODEL.SIDE.FUSION.OUTPUT_CONV}

    def sources(self) -> Sequence[int]:
        """Numbers of the stages that are summed."""
        return range(self.num_stages)

    def _add_weights(self) -> None:
        """Make what :meth:`weights` needs."""

    def weights(self) -> Tensor:
        """(num_stages, sources), rows summing to one."""
        raise NotImplementedError

    def forward(self, stages: Sequence[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
        """Stage maps (B, s, H_k, W_k), fine to coarse, with their masks -> the levels, of the sizes of their stages."""
        return recomputed(self._fuse, masks, *stages)

    def _fuse(self, masks: Sequence[Tensor | None], *stages: Tensor) -> list[Tensor]:
        projected = [lateral(stages[k]) for lateral, k in zip(self.laterals, self.sources())]
        weights = self.weights().to(stages[0].device)
        made = []
        for level in self.levels:
            size = stages[level].shape[-2:]
            parts = enumerate(zip(projected, self.sources()))
            x = sum(weights[level, i] * masked_resize(p, masks[k], size) for i, (p, k) in parts)
            x = apply_mask(x, masks[level])
            if len(self.outputs):
                x = apply_mask(self.outputs[str(level)](x), masks[level])
            made.append(x)
        return made


@FUSIONS.register("weighted")
class WeightedFusion(StageFusion):
    """Trained weights, w = relu(a) / sum relu(a), which start as the mean."""

    scales = ("weight",)  # see SparseInteraction

    def _add_weights(self) -> None:
        self.weight = nn.Parameter(torch.ones(self.num_stages, self.num_stages))

    def weights(self) -> Tensor:
        positive = F.relu(self.weight)
        return positive / (EPS + positive.sum(1, keepdim=True))
