"""Which training samples make up batch k, for every process and every k, from a seed alone."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from effowt_d2.utils.arguments import bad_argument

__all__ = ["TrainingBatches"]


class TrainingBatches(Sampler):
    """An endless stream of shuffled epochs, cut into batches that the processes share.

    Args:
        wide: per record, whether its image is wider than high.
        batch_size: samples per step, of all processes together.
        seed: of the shuffles; the same in all processes.
        group_by_shape: batches hold wide images only or others only, so that less is padded.
        rank, world_size: this process, and the number of processes.

    Attributes:
        start: number of the batch to begin with.

    Raises:
        ValueError: the batch is not a positive multiple of the number of processes.
    """

    def __init__(
        self,
        *,
        wide: Sequence[bool],
        batch_size: int,
        seed: int,
        group_by_shape: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < 1 or batch_size % world_size:
            raise bad_argument("batch_size", f"is {batch_size}, which {world_size} processes cannot share equally")
        self.wide = torch.tensor(wide, dtype=torch.bool)
        self.batch_size = batch_size
        self.seed = seed
        self.group_by_shape = group_by_shape
        self.rank = rank
        self.world_size = world_size
        self.start = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yields this process's part of each batch: pairs of (place in the stream, record)."""
        # what was used before the start is counted off, which is cheap: numbers only, no image
        for batch in itertools.islice(self._batches(), self.start, None):
            yield batch[self.rank :: self.world_size]

    def _batches(self) -> Iterator[list[tuple[int, int]]]:
        buckets: tuple[list, list] = ([], [])
        for position, index in enumerate(self._stream()):
            bucket = buckets[int(self.wide[index]) if self.group_by_shape else 0]
            bucket.append((position, index))
            if len(bucket) == self.batch_size:
                yield bucket.copy()
                bucket.clear()

    def _stream(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield from torch.randperm(len(self.wide), generator=generator).tolist()
