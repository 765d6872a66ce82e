"""The ground-truth tracks that were missed or switched most."""

from collections.abc import Sequence

from effowt_d2.evaluation.switches import Followed

__all__ = ["most_missed", "most_switched"]


def most_missed(tracks: Sequence[Followed], count: int) -> list[Followed]:
    """The tracks missed in most frames."""
    return sorted((track for track in tracks if track.missed), key=lambda track: -track.missed)[:count]


def most_switched(tracks: Sequence[Followed], count: int) -> list[Followed]:
    """The tracks that changed hands most often."""
    switched = sorted(tracks, key=lambda track: -len(track.switches()))
    return [track for track in switched if track.switches()][:count]
