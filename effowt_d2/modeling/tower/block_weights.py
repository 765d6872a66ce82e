"""The tensors of a transformer block by role, whatever its library calls them."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from torch import Tensor, nn


@dataclass(frozen=True)
class BlockWeights:
    """The tensors of one tower block by role, or their importances.

    Attributes:
        q, k, v: (d, d), rows are outputs.
        proj: (d, d).
        fc1: (F, d), of the value path where the MLP is gated.
        fc2: (d, F).
        gate: (F, d), of a gated MLP.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    proj: Tensor
    fc1: Tensor
    fc2: Tensor
    gate: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "BlockWeights":
        """The same with ``change`` applied to every tensor, detached."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return BlockWeights(**{k: None if v is None else change(v.detach()) for k, v in values.items()})


@dataclass(frozen=True)
class BlockVectors:
    """Biases and norms of one tower block; None where it has none."""

    q: Tensor | None
    k: Tensor | None
    v: Tensor | None
    proj: Tensor | None
    fc1: Tensor | None
    fc2: Tensor | None
    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
