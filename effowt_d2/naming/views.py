"""Selection of a track's views, and the pooled probabilities of its names. V words."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["TrackViews"]

_BETTER = 1.2
"""A view replaces another if it is this many times as good; less is not worth a run of the tower."""


@dataclass
class _Track:
    """A track: frames it was seen in, and its views as (quality, probability of each word)."""

    seen: int = 0
    views: list[tuple[float, np.ndarray]] = field(default_factory=list)


class TrackViews:
    """The best views of each track.

    A track's first views are taken at its 1st, 2nd, 4th, 8th, ... frame, as neighbours show the same. Once it has all
    of them, a clearly better one replaces the worst.

    Args:
        limit: views of a track.
        tracks: tracks whose views are remembered, those seen last; of others only the name is.
    """

    def __init__(self, *, limit: int, tracks: int = 1000) -> None:
        self._limit = limit
        self._capacity = tracks
        self._tracks: OrderedDict[int, _Track] = OrderedDict()
        self._best: dict[int, tuple[int, float]] = {}

    def wanted(self, ids: Sequence[int], qualities: Sequence[float], budget: int) -> list[int]:
        """Take note of the tracks of a frame and choose those to be looked at.

        Those with the fewest views come first, then those whose view gains most; the order of the tracks plays no part.

        Args:
            ids: N different track ids.
            qualities: N qualities of their views in this frame; 0: there is nothing to see.
            budget: views at most.

        Returns:
            Positions in ``ids``, by ascending id.
        """
        candidates = []
        for position, (track_id, quality) in enumerate(zip(ids, qualities)):
            track = self._tracks.setdefault(track_id, _Track())
            self._tracks.move_to_end(track_id)
            track.seen += 1
            self._best.setdefault(track_id, (-1, 0.0))
            gain = self._gain(track, quality)
            if gain > 0:
                candidates.append((len(track.views), -gain, track_id, position))
        chosen = sorted(candidates)[:budget]
        return [position for _, _, _, position in sorted(chosen, key=lambda candidate: candidate[2])]

    def _gain(self, track: _Track, quality: float) -> float:
        """Gain of embedding a view; 0: none."""
        if quality <= 0:
            return 0.0
        if len(track.views) < self._limit:
            return quality if track.seen >= 2 ** len(track.views) else 0.0
        ratio = quality / min(known for known, _ in track.views)
        return ratio if ratio > _BETTER else 0.0

    def add(self, track_id: int, quality: float, probabilities: np.ndarray) -> None:
        """Add a view of a track, in place of its worst if it has all it may have.

        Args:
            track_id: one of the frame noted last.
            quality: its weight, above 0.
            probabilities: (V,), of the words for this view.
        """
        track = self._tracks[track_id]
        if len(track.views) == self._limit:
            track.views.remove(min(track.views, key=lambda view: view[0]))
        track.views.append((quality, probabilities))
        pooled = np.average([view[1] for view in track.views], axis=0, weights=[view[0] for view in track.views])
        word = int(pooled.argmax())
        self._best[track_id] = word, float(pooled[word])

    def forget_oldest(self) -> None:
        """Drop the views of the tracks that are one too many, those not seen for longest."""
        while len(self._tracks) > self._capacity:
            self._tracks.popitem(last=False)

    def best(self) -> dict[int, tuple[int, float]]:
        """Of every track ever seen, the number of its word and the word's probability; (-1, 0.0) without a view."""
        return self._best
