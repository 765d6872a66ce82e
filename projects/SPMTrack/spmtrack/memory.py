"""The frames that SPMTrack looks back at.

Entry 0 shows the given boxes, entry k the boxes found in frame k. Frame t looks at R entries, in order of time:

    entries   0 1 2 3 4 5 6 7 8 9 ...  t - 1
    halves    0     *           *                the middles of the first and second half of the past
    thirds    0       *     *                    after one and two thirds of the past
    first     0                                  the first one only, R times

Shapes: T targets of a video.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from sot.state import Reference
from torch import Tensor

from effowt_d2.utils.checks import check_choice, check_count, check_number

__all__ = ["HISTORIES", "Memory", "MemoryPolicy", "halves", "thirds"]


def halves(frame: int, count: int) -> list[int]:
    """The entries of frame t >= 1: the first one, and the middles of count - 1 equal parts of the past."""
    if frame <= count:
        return [min(place, frame - 1) for place in range(count)]
    part = frame // (count - 1) if count > 1 else 0
    return [0, *(number * part + part // 2 for number in range(count - 1))]


def thirds(frame: int, count: int) -> list[int]:
    """As :func:`halves`, with the ends of the first count - 1 of count equal parts."""
    if frame <= count:
        return [min(place, frame - 1) for place in range(count)]
    return [number * frame // count for number in range(count)]


def first(frame: int, count: int) -> list[int]:
    """The given frame alone."""
    return [0] * count


HISTORIES: dict[str, Callable[[int, int], list[int]]] = {"halves": halves, "thirds": thirds, "first": first}


@dataclass(frozen=True)
class Memory:
    """What is kept of a video.

    Attributes:
        entries: references of all targets by frame, ascending.
        state: (T, 1, d), carried from frame to frame.
        skipped: (T,) int64: frames of which no reference of the target was taken, as its box was none or its score
            too low; the one before stands in for it.
    """

    entries: Mapping[int, Reference]
    state: Tensor
    skipped: Tensor


class MemoryPolicy:
    """Which entries are kept, and which are looked at.

    Args:
        references: R, entries per frame.
        history: a name of :data:`HISTORIES`.
        cap: entries kept at most, besides the first; 0 for no limit. With one, the entry whose neighbours
            are closest in time goes, and the one before stands in for it.
        admit_score: targets with a lower score are not remembered.

    Raises:
        ValueError: an unknown history, or a number out of range.
    """

    def __init__(self, *, references: int = 3, history: str = "halves", cap: int = 0, admit_score: float = 0.0):
        self.references = check_count("references", references)
        self.history = check_choice("history", history, HISTORIES)
        self.cap = check_count("cap", cap, 0)
        self.admit_score = check_number("admit_score", admit_score, 0, 1)

    def wanted(self, frame: int) -> list[int]:
        """The entries that frame t >= 1 looks at."""
        return HISTORIES[self.history](frame, self.references)

    def look_up(self, memory: Memory, frame: int) -> list[Reference]:
        """The references of frame t >= 1."""
        kept = list(memory.entries)
        return [memory.entries[max(entry for entry in kept if entry <= wanted)] for wanted in self.wanted(frame)]

    def add(self, memory: Memory, frame: int, new: Reference, admitted: Tensor) -> Memory:
        """The memory behind frame t, whose references are ``new`` where ``admitted`` (T,) is true."""
        (*_, last) = memory.entries.values()
        keep = admitted.to(new.crops.device).view(-1, 1, 1)
        entry = Reference(
            torch.where(keep[..., None], new.crops, last.crops), torch.where(keep, new.foreground, last.foreground)
        )
        entries = self._pruned({**memory.entries, frame: entry}, frame + 1)
        return Memory(entries, memory.state, memory.skipped + ~admitted.cpu())

    def _pruned(self, entries: dict[int, Reference], next_frame: int) -> dict[int, Reference]:
        """Without those that no later frame looks at: the least one wanted never decreases."""
        least = next_frame if self.history == "first" else min(self.wanted(next_frame)[1:], default=next_frame)
        # that entry may be missing itself
        least = max(entry for entry in entries if entry <= least)
        kept = [entry for entry in entries if entry == 0 or entry >= least]
        while self.cap and len(kept) > self.cap + 1:
            # the one in the middle of the shortest stretch between two others
            stretches = [later - earlier for earlier, later in zip(kept, kept[2:])]
            del kept[1 + stretches.index(min(stretches))]
        return {entry: entries[entry] for entry in kept}
