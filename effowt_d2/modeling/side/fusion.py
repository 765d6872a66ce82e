"""Fusion of the side stages into pyramid levels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.modeling.layers.masks import apply_mask, masked_resize
from effowt_d2.modeling.layers.norms import channel_norm
from effowt_d2.modeling.layers.recompute import recomputed

from .block import depthwise

FUSION_KINDS = ("weighted", "softmax", "mean", "last")
EPS = 1e-4


class MultiScaleFusion(nn.Module):
    """Every level is a weighted sum of all stages, resized to it.

    F_l = sum_k w_lk R_{k->l}(P_k), with P_k a 1x1 convolution of stage k and w_l >= 0 summing to one.

    Args:
        channels: s, of the stages.
        out_channels: of the levels.
        kind: weights w: ``weighted`` (relu, normalised) or ``softmax`` of trained values, ``mean``, or ``last`` (the
            coarsest stage only).
        output_conv: depthwise 3x3 + 1x1 + LayerNorm after the sum.
    """

    def __init__(self, *, channels: int, out_channels: int, num_stages: int, kind: str, output_conv: bool):
        super().__init__()
        if kind not in FUSION_KINDS:
            raise ValueError(f"unknown fusion kind {kind!r}; known: {list(FUSION_KINDS)}")
        self.kind = kind
        self.num_stages = num_stages
        used = num_stages if kind != "last" else 1
        self.laterals = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for _ in range(used))
        if kind in ("weighted", "softmax"):
            self.weight = nn.Parameter(torch.ones(num_stages, num_stages))
        self.outputs = nn.ModuleList(
            nn.Sequential(depthwise(out_channels), nn.Conv2d(out_channels, out_channels, 1), channel_norm(out_channels))
            for _ in range(num_stages if output_conv else 0)
        )

    def weights(self) -> Tensor:
        """(levels, stages), rows summing to one."""
        if self.kind == "weighted":
            positive = F.relu(self.weight)
            return positive / (EPS + positive.sum(1, keepdim=True))
        if self.kind == "softmax":
            return self.weight.softmax(1)
        used = len(self.laterals)
        return torch.full((self.num_stages, used), 1 / used)

    def forward(self, stages: Sequence[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
        """Stage maps (B, s, H_k, W_k), fine to coarse, with their masks -> levels of the same sizes."""
        return recomputed(self._fuse, masks, *stages)

    def _fuse(self, masks: Sequence[Tensor | None], *stages: Tensor) -> list[Tensor]:
        sizes = [s.shape[-2:] for s in stages]
        used = range(len(stages)) if self.kind != "last" else [len(stages) - 1]
        projected = [lateral(stages[k]) for lateral, k in zip(self.laterals, used)]
        weights = self.weights().to(stages[0].device)
        levels = []
        for level, size in enumerate(sizes):
            x = sum(
                weights[level, i] * masked_resize(p, masks[k], size) for i, (p, k) in enumerate(zip(projected, used))
            )
            x = apply_mask(x, masks[level])
            if len(self.outputs):
                x = apply_mask(self.outputs[level](x), masks[level])
            levels.append(x)
        return levels


def add_coarse_levels(levels: dict[str, Tensor]) -> dict[str, Tensor]:
    """Append p5 and p6, every second cell of the level before."""
    for name, source in (("p5", "p4"), ("p6", "p5")):
        levels[name] = levels[source][..., ::2, ::2]
    return levels
