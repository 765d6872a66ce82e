"""How a vector that stands for the target reads out the search tokens.

Shapes: B targets, d channels, a search grid of H x W.
"""

import torch
from torch import Tensor

from effowt_d2.utils.checks import check_positive

__all__ = ["ResponseModulation"]


class ResponseModulation:
    """Multiplies each search token by its product with the state: SPMTrack's response map, AQATrack's spatio-temporal fusion.

    Args:
        scale: factor of the products.
    """

    def __init__(self, *, scale: float = 1.0):
        self.scale = check_positive("scale", scale)

    def __call__(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, H, W, d) and states (B, 1, d) to the response map (B, H, W) and the modulated tokens."""
        response = self.scale * torch.einsum("bhwd,bd->bhw", tokens, state[:, 0])
        return response, tokens * response[..., None]
