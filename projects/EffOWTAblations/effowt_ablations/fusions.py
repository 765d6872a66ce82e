"""Fusions of the side stages to compare the weighted one with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from effowt_d2.modeling.side.fusion import FUSIONS, StageFusion

__all__ = ["LastFusion", "MeanFusion", "SoftmaxFusion"]


@FUSIONS.register("softmax")
class SoftmaxFusion(StageFusion):
    """Trained weights, w = softmax(a), which start as the mean."""

    scales = ("weight",)

    def _add_weights(self) -> None:
        self.weight = nn.Parameter(torch.ones(self.num_stages, self.num_stages))

    def weights(self) -> Tensor:
        return self.weight.softmax(1)


@FUSIONS.register("mean")
class MeanFusion(StageFusion):
    """The mean of the stages."""

    def weights(self) -> Tensor:
        used = len(self.sources())
        return torch.full((self.num_stages, used), 1 / used)


@FUSIONS.register("last")
class LastFusion(MeanFusion):
    """The coarsest stage only."""

    def sources(self) -> Sequence[int]:
        return [self.num_stages - 1]
