"""Tracker settings chosen on data: random draws first, then changes of the best found."""

import random
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Trial", "search"]

Settings = dict[str, Any]
Trial = tuple[float, Settings]

# what is drawn for each setting; ranges are uniform, lists are choices
SPACE: dict[str, tuple[float, float] | list] = {
    "init_score": (0.0, 0.6),
    "keep_score": (0.0, 0.3),
    "match_score": (0.05, 0.6),
    "memory_frames": [1, 2, 4, 8, 16, 32],
    "momentum": (0.05, 1.0),
    "distractor_score": (0.0, 0.8),
    "distractor_iou": (0.2, 1.0),
    "max_overlap": (0.4, 1.0),
    "appearance": ["bisoftmax_cosine", "bisoftmax", "cosine"],
    "assignment": ["greedy", "hungarian"],
    "iou_weight": (0.0, 0.9),
    "motion": ["none", "constant_velocity"],
    "limit": [5, 10, 20, 30, 50, 100],
}
FIXED = {"memory_seconds": None}
"""Set in every trial but the first: the memory is drawn in frames."""
STEP = 0.15
"""Standard deviation of a change, as a fraction of the range."""


def search(score: Callable[[Settings], float], *, trials: int, seed: int, start: Settings) -> Iterator[Trial]:
    """Try settings.

    Args:
        score: of settings, higher is better.
        trials: how many are tried: the first half at random, the rest as changes of the best so far.
        seed: of the draws.
        start: tried first.

    Yields:
        Score and settings of each trial.
    """
    rng = random.Random(seed)
    best: Trial = (score(start), start)
    yield best
    for number in range(1, trials):
        settings = _random(start, rng) if number < trials // 2 else _changed(best[1], rng)
        trial = (score(settings), settings)
        best = max(best, trial, key=lambda t: t[0])
        yield trial


def _random(start: Settings, rng: random.Random) -> Settings:
    return _consistent({**start, **FIXED, **{name: _draw(values, rng) for name, values in SPACE.items()}})


def _draw(values: tuple[float, float] | list, rng: random.Random) -> Any:
    return rng.choice(values) if isinstance(values, list) else round(rng.uniform(*values), 3)


def _changed(settings: Settings, rng: random.Random) -> Settings:
    new = {**settings, **FIXED}
    for name in rng.sample(list(SPACE), rng.choice([1, 2, 3])):
        values = SPACE[name]
        if isinstance(values, list):
            new[name] = rng.choice(values)
        else:
            low, high = values
            new[name] = round(min(high, max(low, rng.gauss(new[name], STEP * (high - low)))), 3)
    return _consistent(new)


def _consistent(settings: Settings) -> Settings:
    """Motion acts through the overlap, and what isn't kept can't start a track."""
    settings["motion"] = settings["motion"] if settings["iou_weight"] > 0 else "none"
    settings["init_score"] = max(settings["init_score"], settings["keep_score"])
    settings["momentum"] = max(settings["momentum"], 0.01)
    return settings
