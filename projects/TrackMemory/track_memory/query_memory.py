"""AQATrack's memory, one queue of queries per track."""

from aqatrack.decoder import QueryQueue, TemporalQueryDecoder
from detectron2.config import CfgNode, configurable
from torch import Tensor

from effowt_d2.modeling.roi_heads import ReIDHead
from effowt_d2.tracking import State

from .memories import MEMORIES, CorrectedAverage

__all__ = ["QueryMemory"]


@MEMORIES.register("queries")
class QueryMemory(CorrectedAverage):
    """Each look is asked by a decoder that knows the answers before (AQATrack, arXiv 2403.10574); the last answer counts.

    Args:
        length: answers that are kept.
        layers, heads: of the decoder.
        **common: see :class:`CorrectedAverage`.
    """

    @configurable
    def __init__(self, *, width: int = 64, length: int = 3, layers: int = 1, heads: int = 4, **common):
        super().__init__(width=width, **common)
        self.queue = QueryQueue(length=length)
        self.decoder = TemporalQueryDecoder(channels=width, layers=layers, heads=heads, dropout=0.0)

    @classmethod
    def from_config(cls, cfg: CfgNode, head: ReIDHead) -> dict:
        node = cfg.MODEL.TRACK_MEMORY
        own = {"length": node.LENGTH, "layers": node.LAYERS, "heads": node.HEADS}
        return {**super().from_config(cfg, head), **own}

    def begin(self, tokens: Tensor) -> State:
        queue, filled = self.queue.empty(len(tokens), tokens.shape[-1], tokens.device)
        return self.go_on((queue.to(tokens.dtype), filled, tokens[:, 0]), tokens)

    def go_on(self, state: State, tokens: Tensor) -> State:
        queue, filled, _ = state
        query = self.decoder(self.queue.history(queue, filled, self.training), tokens)
        return *self.queue.push(queue, filled, query), query

    def recall(self, state: State) -> Tensor:
        return state[2]
