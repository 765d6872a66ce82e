"""The token that carries the state, and how the loss begins.

Shapes: B targets, d channels.
"""

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from effowt_d2.utils.checks import check_count, check_positive

__all__ = ["BoxWarmup", "StateToken"]


class StateToken(nn.Module):
    """The token that carries the state: the sum of two trained vectors and the state.

    Args:
        channels: d.
    """

    scales = ("embedding",)
    """Of the two vectors, the one that weight decay leaves alone, as in the release."""

    def __init__(self, *, channels: int):
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, channels))
        self.embedding = nn.Parameter(torch.empty(1, channels))
        for vector in (self.query, self.embedding):
            nn.init.trunc_normal_(vector, std=0.02)

    def forward(self, state: Tensor) -> Tensor:
        """(B, 1, d) to (B, 1, d)."""
        return self.query + self.embedding + state


class BoxWarmup:
    """A larger weight of the loss of the boxes in the first iterations of a training.

    Args:
        iterations: how many.
        factor: how much larger.
    """

    def __init__(self, *, iterations: int = 0, factor: float = 10.0):
        self.iterations = check_count("iterations", iterations, 0)
        self.factor = check_positive("factor", factor)

    def __call__(self) -> float:
        """The factor now, by Detectron2's event storage."""
        warming = self.iterations and get_event_storage().iter < self.iterations
        return self.factor if warming else 1.0
