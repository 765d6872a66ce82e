"""Gates to compare the learnable scalar with."""

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.side.gate import GATES, Gate
from effowt_d2.utils.arguments import bad_argument

__all__ = ["ChannelGate", "FixedGate", "SumGate"]


@GATES.register("channel")
class ChannelGate(Gate):
    """As :class:`Gate`, with an a per channel; the value is (C,)."""

    def _size(self, channels: int) -> int:
        return channels


@GATES.register("fixed")
class FixedGate(nn.Module):
    """h = g * tap + (1 - g) * state, with a g that stays what it is.

    Args:
        channels: of tap and state; not used.
        value: g, in [0, 1].

    Raises:
        ValueError: a value outside.
    """

    def __init__(self, *, channels: int, value: float = 0.5):
        super().__init__()
        if not 0 <= value <= 1:
            raise bad_argument("value", f"must be in [0, 1], got {value}")
        self.fixed_value = value

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor, less ``channels``."""
        return {"value": cfg.MODEL.SIDE.GATE.VALUE}

    def value(self) -> Tensor:
        """g, (1,)."""
        return torch.tensor([self.fixed_value])

    def forward(self, tap: Tensor, state: Tensor) -> Tensor:
        """tap, state (B, C, H, W) -> (B, C, H, W)."""
        return self.fixed_value * tap + (1 - self.fixed_value) * state


@GATES.register("sum")
class SumGate(nn.Module):
    """h = tap + state.

    Args:
        channels: of tap and state; not used.
    """

    def __init__(self, *, channels: int):
        super().__init__()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor, less ``channels``: none."""
        return {}

    def forward(self, tap: Tensor, state: Tensor) -> Tensor:
        """tap, state (B, C, H, W) -> (B, C, H, W)."""
        return tap + state
