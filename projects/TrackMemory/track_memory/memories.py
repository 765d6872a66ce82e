"""What the memories have in common: each corrects a moving average, by an amount that is zero before training."""

from detectron2.config import CfgNode, configurable
from torch import Tensor, nn

from effowt_d2.modeling.roi_heads import ReIDHead
from effowt_d2.tracking import Looks, MovingAverage, State, TrackState
from effowt_d2.utils.registry import Registry

__all__ = ["MEMORIES", "AverageMemory", "CorrectedAverage"]

MEMORIES: Registry[type[TrackState]] = Registry("memories of tracks")
"""Classes made of a config and the ReID head whose looks they remember; ``MODEL.TRACK_MEMORY.KIND`` names one."""


@MEMORIES.register("average")
class AverageMemory(MovingAverage):
    """A moving average alone, to compare with."""

    @configurable
    def __init__(self, *, momentum: float = 0.5):
        super().__init__(momentum=momentum)

    @classmethod
    def from_config(cls, cfg: CfgNode, head: ReIDHead) -> dict:
        return {"momentum": cfg.MODEL.TRACK_MEMORY.MOMENTUM}


class CorrectedAverage(TrackState):
    """A moving average of the embeddings, and a correction read from what else is remembered.

    A subclass remembers in :meth:`begin` and :meth:`go_on`, from tokens of ``width`` channels, and reads in :meth:`recall`.

    Args:
        token_channels: C of the ReID head's tokens.
        dim: E.
        width: channels inside.
        momentum: of the average.
    """

    def __init__(self, *, token_channels: int, dim: int, width: int = 64, momentum: float = 0.5):
        super().__init__()
        self.average = MovingAverage(momentum=momentum)
        self.enter = nn.Sequential(nn.Linear(token_channels, width), nn.LayerNorm(width))
        self.correct = nn.Linear(width, dim)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode, head: ReIDHead) -> dict:
        node = cfg.MODEL.TRACK_MEMORY
        common = {"token_channels": head.token_channels, "dim": head.dim}
        return {**common, "width": node.WIDTH, "momentum": node.MOMENTUM}

    def init(self, looks: Looks) -> State:
        return *self.average.init(looks), *self.begin(self._tokens(looks))

    def step(self, state: State, looks: Looks) -> State:
        return *self.average.step(state[:2], looks), *self.go_on(state[2:], self._tokens(looks))

    def embedding(self, state: State) -> Tensor:
        return self.average.embedding(state[:2]) + self.correct(self.recall(state[2:]))

    def _tokens(self, looks: Looks) -> Tensor:
        if looks.tokens is None:
            raise ValueError(f"{type(self).__name__} remembers tokens, but the detections have embeddings only")
        return self.enter(looks.tokens)

    def begin(self, tokens: Tensor) -> State:
        """What K tracks remember of their first tokens (K, L, width)."""
        raise NotImplementedError

    def go_on(self, state: State, tokens: Tensor) -> State:
        """The same after tokens more."""
        raise NotImplementedError

    def recall(self, state: State) -> Tensor:
        """(K, width), what the correction is made of."""
        raise NotImplementedError
