"""EVPTrack's memory, tokens of each track that are made anew at every look from its first and the ones before."""

from detectron2.config import CfgNode, configurable
from evptrack.prompts import SpatioTemporalEncoder, SpatioTemporalPrompts
from torch import Tensor

from effowt_d2.modeling.roi_heads import ReIDHead
from effowt_d2.tracking import State

from .memories import MEMORIES, CorrectedAverage

__all__ = ["TokenMemory"]


@MEMORIES.register("tokens")
class TokenMemory(CorrectedAverage):
    """Carries tokens through an encoder of the first look, this look and what was carried (EVPTrack, arXiv 2401.03142); their
    prompts' mean counts.

    Args:
        grid: side of the map of cells that the tokens are.
        pool: side of the squares of cells that a prompt stands for.
        layers, heads: of the encoder.
        **common: see :class:`CorrectedAverage`.
    """

    @configurable
    def __init__(self, *, grid: int, width: int = 64, pool: int = 2, layers: int = 1, heads: int = 4, **common):
        super().__init__(width=width, **common)
        self.encoder = SpatioTemporalEncoder(channels=width, heads=heads, depth=layers)
        self.prompts = SpatioTemporalPrompts(channels=width, grid=grid, st_pool=pool)

    @classmethod
    def from_config(cls, cfg: CfgNode, head: ReIDHead) -> dict:
        node = cfg.MODEL.TRACK_MEMORY
        own = {"grid": head.grid, "pool": node.POOL, "layers": node.LAYERS, "heads": node.HEADS}
        return {**super().from_config(cfg, head), **own}

    def begin(self, tokens: Tensor) -> State:
        return tokens, tokens

    def go_on(self, state: State, tokens: Tensor) -> State:
        first, carried = state
        return first, self.encoder(first, tokens, carried)

    def recall(self, state: State) -> Tensor:
        return self.prompts(state[1]).mean(dim=1)
