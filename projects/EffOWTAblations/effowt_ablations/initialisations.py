"""Initialisations to compare pruning by magnitude with: at random here, by Fisher information in ``fisher``."""

import torch
from detectron2.config import CfgNode

from effowt_d2.modeling.side.initialisation import INITS, Initialisation

from . import fisher  # noqa: F401  (registers itself)

__all__ = ["Chance"]


@INITS.register("random")
class Chance(Initialisation):
    """Importances are uniform random numbers, so that what is kept is a random subset.

    Args:
        seed: of the numbers.
    """

    def __init__(self, *, seed: int = 0):
        self.seed = seed

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {"seed": cfg.MODEL.SIDE.SEED}

    def importances(self, tower, taps, samples=None):
        generator = torch.Generator().manual_seed(self.seed)
        return {tap: tower.block_weights(tap).map(lambda w: torch.rand(w.shape, generator=generator)) for tap in taps}
