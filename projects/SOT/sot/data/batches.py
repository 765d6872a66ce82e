"""Which sequences make up batch k: datasets in fixed fractions, the sequences of each in shuffled passes."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from effowt_d2.utils.arguments import bad_argument

__all__ = ["MixedBatches"]


class MixedBatches(Sampler):
    """An endless stream that draws a dataset for every place, and takes the next sequence of its shuffled pass.

    Args:
        sizes: number of sequences of each dataset; records are numbered through.
        weights: of the datasets; empty for equal ones.
        batch_size: samples per step, of all processes together.
        seed: the same in all processes.
        rank, world_size: this process, and the number of processes.

    Attributes:
        start: number of the batch to begin with.

    Raises:
        ValueError: the batch is not a positive multiple of the number of processes, or the weights do not fit the datasets.
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int],
        weights: Sequence[float] = (),
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < 1 or batch_size % world_size:
            raise bad_argument("batch_size", f"is {batch_size}, which {world_size} processes cannot share equally")
        if (
            len(weights) not in (0, len(sizes))
            or any(weight < 0 for weight in weights)
            or (weights and not sum(weights))
        ):
            raise bad_argument(
                "weights",
                f"must be {len(sizes)} numbers of at least 0, one per dataset, not all 0, got {list(weights)}",
            )
        self.sizes = list(sizes)
        self.weights = torch.tensor(weights or [1.0] * len(sizes), dtype=torch.float64)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.start = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yields this process's part of each batch: pairs of (place in the stream, record)."""
        stream = enumerate(self._stream())
        # what was used before the start is counted off, which is cheap: numbers only, no image
        stream = itertools.islice(stream, self.start * self.batch_size, None)
        while True:
            yield list(itertools.islice(stream, self.batch_size))[self.rank :: self.world_size]

    def _stream(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        offsets = [0, *itertools.accumulate(self.sizes)]
        passes = [self._passes(size, generator) for size in self.sizes]
        while True:
            chosen = int(torch.multinomial(self.weights, 1, generator=generator))
            yield offsets[chosen] + next(passes[chosen])

    @staticmethod
    def _passes(size: int, generator: torch.Generator) -> Iterator[int]:
        while True:
            yield from torch.randperm(size, generator=generator).tolist()
