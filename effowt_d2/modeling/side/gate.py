"""Gates between tower features and the side state."""

import math

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_positive
from effowt_d2.utils.registry import Registry

__all__ = ["GATES", "Gate"]

GATES: Registry[type[nn.Module]] = Registry("gates")


@GATES.register("learnable")
class Gate(nn.Module):
    """h = g * tap + (1 - g) * state, with a trained scalar a and g = sigmoid(a / T).

    Args:
        channels: of tap and state; a scalar gate has no use for it.
        temperature: T, above 0.
        value: g at start, between 0 and 1.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(self, *, channels: int, temperature: float = 0.1, value: float = 0.5):
        super().__init__()
        if not 0 < value < 1:
            raise bad_argument("value", f"must be above 0 and below 1, got {value}")
        self.temperature = check_positive("temperature", temperature)
        start = temperature * math.log(value / (1 - value))
        self.logit = nn.Parameter(torch.full((self._size(channels),), start))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor, less ``channels``."""
        gate = cfg.MODEL.SIDE.GATE
        return {"temperature": gate.TEMPERATURE, "value": gate.VALUE}

    def _size(self, channels: int) -> int:
        """Number of trained values."""
        return 1

    def value(self) -> Tensor:
        """g, (1,)."""
        return torch.sigmoid(self.logit / self.temperature)

    def forward(self, tap: Tensor, state: Tensor) -> Tensor:
        """tap, state (B, C, H, W) -> (B, C, H, W)."""
        return torch.lerp(state, tap, self.value().to(state.dtype).view(1, -1, 1, 1))
