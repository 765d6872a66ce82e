"""The learning rates of LoRAT and SPMTrack."""

import math

from detectron2.config import CfgNode
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from effowt_d2.engine import SCHEDULERS

__all__ = ["WarmupCosine"]


class WarmupCosine:
    """A factor of the base rate per step: a linear warm-up, then a cosine.

    The cosine's period is that of the whole training, so it stops as far before its end as the warm-up is long. As the
    releases move their schedule after a step with that step's own number, the first two steps have the same rate and every
    later one that of the step before it.

    Args:
        steps: of the whole training.
        warmup: of its first part.
        start: factor of the first step.
        end: what the cosine goes towards.
    """

    def __init__(self, *, steps: int, warmup: int, start: float = 1e-3, end: float = 0.01):
        self.steps = steps
        self.warmup = warmup
        self.start = start
        self.end = end

    def __call__(self, step: int) -> float:
        place = max(step - 1, 0)
        if place < self.warmup:
            return self.start + (1 - self.start) * place / self.warmup
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * (place - self.warmup) / self.steps)) / 2


@SCHEDULERS.register("warmup_cosine_sot")
def _build(cfg: CfgNode, optimizer: Optimizer) -> LambdaLR:
    """Reads ``SOLVER.MAX_ITER``, ``WARMUP_ITERS``, ``WARMUP_FACTOR`` and ``END_FACTOR``."""
    solver = cfg.SOLVER
    factor = WarmupCosine(
        steps=solver.MAX_ITER, warmup=solver.WARMUP_ITERS, start=solver.WARMUP_FACTOR, end=solver.END_FACTOR
    )
    return LambdaLR(optimizer, factor)
