"""Initialisation of a side network: random, or a slice of the tower by weight importance."""

from collections.abc import Iterable, Sequence

import torch
from detectron2.config import CfgNode

from effowt_d2.modeling.tower.block_weights import BlockWeights
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.registry import Registry

__all__ = ["INITS", "Initialisation", "Magnitude", "Scratch"]

INITS: Registry[type["Initialisation"]] = Registry("initialisations", argument="init")


class Initialisation:
    """Base.

    Attributes:
        needs_samples: :meth:`importances` requires labelled training samples, so that it has to wait for the trainer.
    """

    needs_samples = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Arguments of the constructor."""
        return {}

    def importances(
        self, tower: Tower, taps: Sequence[int], samples: Iterable[dict] | None = None
    ) -> dict[int, BlockWeights] | None:
        """Importance of each weight of the tapped blocks.

        Args:
            tower: the tower, which is left as it is.
            taps: numbers of its blocks.
            samples: labelled training samples, without end, where :attr:`needs_samples` is true.

        Returns:
            Importances by block; None leaves the side network as it was drawn.
        """
        raise NotImplementedError


@INITS.register("scratch")
class Scratch(Initialisation):
    """As drawn."""

    def importances(self, tower, taps, samples=None):
        return None


@INITS.register("l1")
class Magnitude(Initialisation):
    """A weight matters by its absolute value."""

    def importances(self, tower, taps, samples=None):
        return {tap: tower.block_weights(tap).map(torch.abs) for tap in taps}
