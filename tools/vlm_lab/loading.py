"""Batches by the number of their step, made ready for the model in the main process or in workers of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from effowt_d2.data.image_text.batches import Batch, PairBatches

from .schedule import size_at

__all__ = ["Ready", "batches_from"]


class Ready(NamedTuple):
    """A batch and its texts as tokens: those of classes, captions, words and meanings, one behind the other."""

    batch: Batch
    tokens: Tensor


class _Steps(Dataset):
    def __init__(self, batches: PairBatches, tokenizer, stages: Sequence[tuple[int, int]], first: int) -> None:
        self.batches, self.tokenizer, self.stages, self.first = batches, tokenizer, stages, first

    def __len__(self) -> int:
        return sum(steps for _, steps in self.stages) - self.first

    def __getitem__(self, number: int) -> Ready:
        step = self.first + number
        batch = self.batches(step, size=size_at(step, self.stages))
        return Ready(batch, self.tokenizer(sum(batch.all_texts, start=[])))


def batches_from(
    batches: PairBatches, tokenizer, *, stages: Sequence[tuple[int, int]], first: int, workers: int, pinned: bool
) -> Iterator[Ready]:
    """The batches of all steps from ``first`` on, in order.

    Args:
        batches: gives a batch by its number.
        tokenizer: of open_clip.
        stages: image sizes and their steps.
        first: number of the first step.
        workers: processes that make them; 0 for none.
        pinned: in memory that is copied to a GPU while it computes.
    """
    steps = _Steps(batches, tokenizer, stages, first)
    more = {"prefetch_factor": 2} if workers else {}
    return iter(DataLoader(steps, batch_size=None, num_workers=workers, pin_memory=pinned, **more))
