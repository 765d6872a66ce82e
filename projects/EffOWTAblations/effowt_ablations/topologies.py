"""A topology to compare the sequential one with."""

from collections.abc import Sequence

from torch import Tensor

from effowt_d2.modeling.side.topology import TOPOLOGIES, Sequential, spread

__all__ = ["Parallel"]


@TOPOLOGIES.register("parallel")
class Parallel(Sequential):
    """A ladder per stride: each stage has the whole depth of the tower spread over its own blocks."""

    @staticmethod
    def longest(blocks: Sequence[int]) -> int:
        return max(blocks)

    @staticmethod
    def taps(blocks: Sequence[int], depth: int) -> list[int]:
        return [tap for count in blocks for tap in spread(count, depth)]

    @staticmethod
    def previous(states: Sequence[Tensor], results: Sequence[Tensor]) -> Tensor:
        return states[-1]
