"""What a track remembers of the looks of its object: one state per track, many tracks at a time.

Letters: K tracks, E embedding channels, L tokens of C channels per detection, H remembered embeddings per track.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Looks", "MovingAverage", "State", "TrackState"]

State = tuple[Tensor, ...]
"""What K tracks remember: tensors whose rows are the tracks."""


class Looks(NamedTuple):
    """K detections as a track's memory sees them.

    Attributes:
        embeddings: (K, E), of the ReID head.
        tokens: (K, L, C), the ReID head's map of each box as a row of cells; None where there are none.
    """

    embeddings: Tensor
    tokens: Tensor | None = None

    def rows(self, rows: Tensor | np.ndarray) -> "Looks":
        """The detections of these row numbers."""
        return Looks(self.embeddings[rows], None if self.tokens is None else self.tokens[rows])


class TrackState(nn.Module):
    """The memory of a track's looks. Rows are independent: what a track remembers is the same beside any others."""

    def init(self, looks: Looks) -> State:
        """The states of tracks that begin with these detections."""
        raise NotImplementedError

    def step(self, state: State, looks: Looks) -> State:
        """The states after each track was seen once more."""
        raise NotImplementedError

    def embedding(self, state: State) -> Tensor:
        """What the tracks are matched by: (K, E), compared with the detections' embeddings."""
        raise NotImplementedError


class MovingAverage(TrackState):
    """Follows e <- (1 - momentum) e + momentum n.

    With ``history`` above 1 a track is matched by the mean of its last ``history`` values of e, weighted 1, 2, 3, ...
    towards the newest.

    Args:
        momentum: weight of the new embedding, in (0, 1].
        history: H.
    """

    def __init__(self, *, momentum: float, history: int = 1):
        super().__init__()
        self.momentum = momentum
        self.history = history

    def init(self, looks: Looks) -> State:
        seen = torch.ones(len(looks.embeddings), dtype=torch.int64, device=looks.embeddings.device)
        return looks.embeddings[:, None].repeat(1, self.history, 1), seen

    def step(self, state: State, looks: Looks) -> State:
        values, seen = state  # newest last
        newest = torch.lerp(values[:, -1], looks.embeddings, self.momentum)
        return torch.cat([values[:, 1:], newest[:, None]], dim=1), seen + 1

    def embedding(self, state: State) -> Tensor:
        values, seen = state
        if self.history == 1:
            return values[:, 0]
        # a track seen fewer than H times uses the values it has: older places weigh nothing
        places = torch.arange(1, self.history + 1, device=seen.device) - self.history
        weights = (places + seen.clamp(max=self.history)[:, None]).clamp(min=0).float()
        return torch.einsum("mh,mhe->me", weights / weights.sum(dim=1, keepdim=True), values)
