"""The token reduction as the authors' release computes it: ``MODEL.TOKENS.REDUCTION sparse_released``."""

from dataclasses import replace

from effowt_d2.modeling.tokens import REDUCTIONS, SparseReduction
from effowt_d2.modeling.tower.hooks import attention_row
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.tower.windows import key_mask
from effowt_d2.utils.arguments import bad_argument

__all__ = ["ReleasedReduction"]


@REDUCTIONS.register("sparse_released")
class ReleasedReduction(SparseReduction):
    """``sparse`` whose fused token is the sum of the dropped ones, each times the attention that it got.

    That attention sums to a few percent, so this token is small. The plugin's ``sparse`` scales the weights to sum 1.
    Arguments are those of :class:`SparseReduction`.

    Raises:
        ValueError: as there, or anything but the class token's attention chooses, or there are windows.
    """

    def __init__(self, *, tower: Tower, score: str = "auto", **stages):
        super().__init__(tower=tower, score=score, **stages)
        if not self.by_class or score == "learned":
            raise bad_argument("score", f"must be class for sparse_released, got {score!r} on {tower.name}")
        if self.window:
            raise bad_argument("window", f"must be 0, the whole map, for sparse_released, got {self.window}")

    def step(self, number, tokens, members, cells, q, k):
        step = super().step(number, tokens, members, cells, q, k)
        if step is None or not self.fuse:
            return step
        row = attention_row(q[:, :, :1], k, key_mask(tokens.valid, tokens.prefix)).mean(1)[:, tokens.prefix :]
        scores = row[:, None].expand(-1, step.pooled.shape[1], -1).gather(2, step.pooled)
        return replace(step, weights=scores * (step.weights > 0))
