"""Gates that let tower features into the side network."""

import math

import torch
from torch import Tensor, nn

GATE_KINDS = ("learnable", "channel", "fixed", "sum")


class Gate(nn.Module):
    """h = g * tap + (1 - g) * state, with g = sigmoid(a / T).

    Args:
        kind: ``learnable`` (one scalar a), ``channel`` (one a per channel), ``fixed`` (g stays what it is), or ``sum``
            (h = tap + state).
        channels: of tap and state.
        temperature: T.
        value: g at start, in [0, 1]; the open interval for the trained kinds.

    Raises:
        ValueError: for an unknown kind or a value outside its range.
    """

    def __init__(self, *, kind: str, channels: int, temperature: float, value: float):
        super().__init__()
        if kind not in GATE_KINDS:
            raise ValueError(f"unknown gate kind {kind!r}; known: {list(GATE_KINDS)}")
        trained = kind in ("learnable", "channel")
        if not 0 <= value <= 1 or (trained and value in (0, 1)):
            raise ValueError(f"a {kind} gate starts {'inside' if trained else 'in'} [0, 1], got {value}")
        if temperature <= 0:
            raise ValueError(f"the gate temperature is positive, got {temperature}")
        self.kind = kind
        self.temperature = temperature
        self.fixed_value = value
        if trained:
            start = temperature * math.log(value / (1 - value))
            self.logit = nn.Parameter(torch.full((1 if kind == "learnable" else channels,), start))

    def value(self) -> Tensor:
        """g: (1,), or (C,) for ``channel``."""
        if self.kind in ("learnable", "channel"):
            return torch.sigmoid(self.logit / self.temperature)
        return torch.tensor([self.fixed_value])

    def forward(self, tap: Tensor, state: Tensor) -> Tensor:
        """tap, state (B, C, H, W) -> (B, C, H, W)."""
        if self.kind == "sum":
            return tap + state
        if self.kind == "fixed":
            return self.fixed_value * tap + (1 - self.fixed_value) * state
        return torch.lerp(state, tap, self.value().to(state.dtype).view(1, -1, 1, 1))
