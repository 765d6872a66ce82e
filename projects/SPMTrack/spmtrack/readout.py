"""How the state token reads out the search tokens, and how the loss begins.

Shapes: B targets, d channels, a search grid of H x W.
"""

import torch
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from effowt_d2.utils.checks import check_count, check_positive

__all__ = ["BoxWarmup", "ResponseModulation", "StateToken"]


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


class ResponseModulation:
    """Multiplies each search token by its product with the state.

    Args:
        scale: factor of the products.
    """

    def __init__(self, *, scale: float = 1.0):
        self.scale = check_positive("scale", scale)

    def __call__(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, H, W, d) and states (B, 1, d) to the response map (B, H, W) and the modulated tokens."""
        response = self.scale * torch.einsum("bhwd,bd->bhw", tokens, state[:, 0])
        return response, tokens * response[..., None]


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
