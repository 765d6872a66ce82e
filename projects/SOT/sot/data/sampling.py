"""Which frames of a sequence make a training sample.

    pair:  a template and a search frame, at most max_gap frames apart, in either order
    clip:  references ... references | searches, or the other way round in time

           ------R--------R---R---------S-------S------>  time, or <------

    later: a template and search frames behind it, with repetition

Samplers draw from ``numpy.random``, which the loader seeds for every sample.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from effowt_d2.formats import DatasetError
from effowt_d2.utils.checks import check_choice, check_count
from effowt_d2.utils.registry import Registry

from .sequence import TargetSequence

__all__ = ["ORDERS", "SAMPLERS", "ClipSampler", "Drawn", "LaterSampler", "PairSampler"]

SAMPLERS: Registry[Callable] = Registry("samplers of training frames", argument="sampler")
"""Classes by the name that ``INPUT.SOT.SAMPLER`` gives; built from ``INPUT.SOT``."""

ORDERS = ("shuffled", "sorted")
"""Of the search frames of a clip in time."""

_TRIES = 20
_GROWTH = 5
_LEAST_FRAMES = 20


class Drawn(NamedTuple):
    """Frame numbers of the references (templates) and of the search frames."""

    references: tuple[int, ...]
    searches: tuple[int, ...]


@SAMPLERS.register("pair")
class PairSampler:
    """One template and one search frame, of frames that show the target (LoRAT, arXiv 2403.05231).

    Args:
        max_gap: frames between the two at most; a frame without another one in reach is both.
    """

    def __init__(self, *, max_gap: int = 100):
        self.max_gap = check_count("max_gap", max_gap, 0)

    @classmethod
    def from_config(cls, node) -> dict:
        return {"max_gap": node.MAX_GAP}

    def fits(self, sequence: TargetSequence) -> bool:
        """Whether frames can be drawn from the sequence."""
        return bool(sequence.visible.any())

    def __call__(self, sequence: TargetSequence) -> Drawn:
        visible = np.flatnonzero(sequence.visible)
        template = int(np.random.choice(visible))
        near = visible[(abs(visible - template) <= self.max_gap) & (visible != template)]
        return Drawn((template,), (int(np.random.choice(near)) if len(near) else template,))


@SAMPLERS.register("clip")
class ClipSampler:
    """Several references and several search frames on one side of them in time (SPMTrack, arXiv 2503.18338).

    A first reference is any frame that shows the target, the others are drawn from those within ``max_gap`` of it.
    The search frames are drawn from those within ``search_gap`` of the earliest or of the latest reference, beyond it.
    All of them are then put in order of time, forward or backward at random, and dealt out anew: the first are the references.

    Args:
        references, searches: numbers of frames.
        max_gap: frames between the first reference and the others.
        search_gap: frames between the outermost reference and the search frames.
    """

    def __init__(self, *, references: int = 3, searches: int = 2, max_gap: int = 200, search_gap: int = 400):
        self.references = check_count("references", references)
        self.searches = check_count("searches", searches)
        self.max_gap = check_count("max_gap", max_gap)
        self.search_gap = check_count("search_gap", search_gap)

    @classmethod
    def from_config(cls, node) -> dict:
        return {
            "references": node.REFERENCES,
            "searches": node.SEARCHES,
            "max_gap": node.MAX_GAP,
            "search_gap": node.SEARCH_GAP,
        }

    def fits(self, sequence: TargetSequence) -> bool:
        """Whether the sequence is a still image, or has enough frames that show the target."""
        return sequence.still or int(sequence.visible.sum()) >= self.references + self.searches

    def __call__(self, sequence: TargetSequence) -> Drawn:
        """
        Raises:
            DatasetError: 20 draws found no search frames; names the sequence.
        """
        if sequence.still:
            return Drawn((0,) * self.references, (0,) * self.searches)
        visible, window = np.flatnonzero(sequence.visible), self.max_gap
        for _ in range(_TRIES if len(visible) else 0):
            first = np.random.choice(visible)
            near = visible[abs(visible - first) <= window]
            if len(near) < self.references:
                continue
            chosen = self._searches(visible, np.append(np.random.choice(near, self.references - 1), first))
            if chosen is not None:
                return self._deal(chosen)
            window += _GROWTH
        raise DatasetError(
            f"sequence '{sequence.name}': {_TRIES} draws found no {self.references} references and {self.searches} search "
            f"frames among {len(visible)} of {len(sequence)} frames that show the target"
        )

    def _searches(self, visible: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        first, last = references.min(), references.max()
        before = visible[(visible < first) & (visible >= first - self.search_gap)]
        after = visible[(visible > last) & (visible <= last + self.search_gap)]
        sides = [side for side in (before, after) if len(side) >= self.searches]
        if not sides:
            return None
        side = sides[np.random.randint(len(sides))]
        return np.concatenate([references, np.random.choice(side, self.searches)])

    def _deal(self, frames: np.ndarray) -> Drawn:
        ordered = np.sort(frames)[:: np.random.choice([1, -1])].tolist()
        return Drawn(tuple(ordered[: self.references]), tuple(ordered[self.references :]))


@SAMPLERS.register("later")
class LaterSampler:
    """One template, and search frames out of those that show the target behind it (AQATrack, arXiv 2403.10574; EVPTrack).

    Search frames are drawn with replacement, so that a frame may come twice. A template without one in reach is drawn again,
    with a reach of 5 frames more.

    Args:
        searches: number of search frames.
        max_gap: they lie less than so many frames behind the template.
        order: ``shuffled``, as drawn, so that time may run backwards within a clip; or ``sorted``.
    """

    def __init__(self, *, searches: int = 4, max_gap: int = 400, order: str = "shuffled"):
        self.searches = check_count("searches", searches)
        self.max_gap = check_count("max_gap", max_gap, 0)
        self.order = check_choice("order", order, ORDERS)

    @classmethod
    def from_config(cls, node) -> dict:
        return {"searches": node.SEARCHES, "max_gap": node.MAX_GAP, "order": node.CLIP_ORDER}

    def fits(self, sequence: TargetSequence) -> bool:
        """Whether the sequence is a still image, or has 20 frames and shows the target in more than twice what is drawn."""
        enough = int(sequence.visible.sum()) > 2 * (self.searches + 1)
        return sequence.still or (len(sequence) >= _LEAST_FRAMES and enough)

    def __call__(self, sequence: TargetSequence) -> Drawn:
        """
        Raises:
            DatasetError: there is no template that search frames lie behind; names the sequence.
        """
        if sequence.still:
            return Drawn((0,), (0,) * self.searches)
        drawn = self.draw(sequence.visible, random.Random(int(np.random.randint(2**31))))
        if drawn is None:
            raise DatasetError(
                f"sequence '{sequence.name}': the target is seen in {int(sequence.visible.sum())} of {len(sequence)} frames, "
                f"in none of them before {self.searches} others"
            )
        return drawn

    def draw(self, visible: np.ndarray, source: random.Random) -> Drawn | None:
        """The frames, drawn in the order of the release's calls; None where there are none.

        Args:
            visible: (N,) bool.
            source: of random numbers.
        """
        shown = np.flatnonzero(visible).tolist()
        early = [frame for frame in shown if frame < len(visible) - self.searches]
        if not early or early[0] == shown[-1]:
            return None
        reach = self.max_gap
        while True:
            (template,) = source.choices(early, k=1)
            later = [frame for frame in shown if template < frame < template + reach]
            if later:
                chosen = source.choices(later, k=self.searches)
                return Drawn((template,), tuple(sorted(chosen) if self.order == "sorted" else chosen))
            reach += _GROWTH
