"""Topology of the side stages."""

from collections.abc import Sequence

from torch import Tensor

from effowt_d2.utils.registry import Registry

__all__ = ["TOPOLOGIES", "Sequential", "spread"]

TOPOLOGIES: Registry[type["Sequential"]] = Registry("topologies", argument="topology")


def spread(count: int, depth: int) -> list[int]:
    """``count`` of ``depth`` blocks, evenly, ending at the last."""
    return [round((i + 1) * depth / count) - 1 for i in range(count)]


@TOPOLOGIES.register("sequential")
class Sequential:
    """One ladder through all stages: the tower's depth is spread over all of their blocks."""

    @staticmethod
    def longest(blocks: Sequence[int]) -> int:
        """Blocks, one behind the other, that the tower must have a tap for each of. ``blocks`` is their number by
        stage."""
        return sum(blocks)

    @staticmethod
    def taps(blocks: Sequence[int], depth: int) -> list[int]:
        """The tower block of every side block in order, for a tower of ``depth`` blocks."""
        return spread(sum(blocks), depth)

    @staticmethod
    def previous(states: Sequence[Tensor], results: Sequence[Tensor]) -> Tensor:
        """Input of the next stage: one of the stages' initial states or results so far, fine to coarse."""
        return results[-1]
