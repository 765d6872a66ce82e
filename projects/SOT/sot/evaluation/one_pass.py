"""Scores of a dataset: per sequence, their means, and of all frames together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from tabulate import tabulate

from effowt_d2.formats import DatasetError
from sot.data.sequence import TargetSequence

from .conventions import CONVENTIONS, NORMALISED, PRECISION, SUCCESS
from .rules import find_rules

__all__ = ["Report", "evaluate_one_pass", "format_table"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Figures in percent by name.

    Attributes:
        convention, rules: by which they were made.
        headline: those that the convention publishes: ``mean`` or ``pooled``.
        mean: over the sequences that have frames to score.
        pooled: of all frames together.
        sequences: per sequence; NaN where no frame is scored.
        curves: mean fraction of frames, in percent, per threshold of ``success``, ``precision`` and ``normalised``; the
            thresholds are under ``thresholds``.
    """

    convention: str
    rules: str
    headline: dict[str, float]
    mean: dict[str, float]
    pooled: dict[str, float]
    sequences: dict[str, dict[str, float]]
    curves: dict[str, list[float]]
    thresholds: dict[str, list[float]]


def evaluate_one_pass(
    sequences: Sequence[TargetSequence],
    predictions: Mapping[str, np.ndarray],
    convention: str = "pytracking",
    rules: str = "default",
) -> Report:
    """Score predicted boxes.

    Args:
        sequences: with the truth of every frame.
        predictions: boxes (N, 4) x0, y0, x1, y1 in pixels of the frames by the sequence's name, the first frame's included.
        convention: a name in :data:`CONVENTIONS`.
        rules: those of the dataset, a name in :data:`~sot.evaluation.rules.RULES`; only "pytracking" asks.

    Raises:
        ValueError: an unknown convention or unknown rules, or no sequences.
        DatasetError: a sequence has no predictions, another number of them than of frames, or no truth; names it.
    """
    chosen, found = CONVENTIONS.get(convention), find_rules(rules)
    if not sequences:
        raise ValueError("there are no sequences to score")
    counts = {s.name: chosen.count(s, _predicted(s, predictions), found) for s in sequences}
    figures = {name: _percent(chosen.figures(count)) for name, count in counts.items()}
    scored = [name for name, count in counts.items() if count.frames]
    if len(scored) < len(counts):
        logger.warning("no frame to score by '%s' in %s", convention, ", ".join(sorted(set(counts) - set(scored))))
    names = next(iter(figures.values()))
    mean = {name: _mean([figures[s][name] for s in scored]) for name in names}
    pooled = _percent(chosen.figures(reduce(add, counts.values())))
    curves = {
        curve: [_mean(values) for values in zip(*(100 * counts[s].curve(curve) for s in scored))]
        for curve in ("success", "precision", "normalised")
    }
    thresholds = {"success": SUCCESS.tolist(), "precision": PRECISION.tolist(), "normalised": NORMALISED.tolist()}
    headline = pooled if chosen.pooled else mean
    return Report(convention, rules, headline, mean, pooled, figures, curves, thresholds)


def _predicted(sequence: TargetSequence, predictions: Mapping[str, np.ndarray]) -> np.ndarray:
    if not sequence.annotated:
        raise DatasetError(f"sequence '{sequence.name}': the truth of {len(sequence) - 1} frames is withheld")
    if sequence.name not in predictions:
        raise DatasetError(f"sequence '{sequence.name}' has no predictions; there are some of {sorted(predictions)}")
    boxes = np.asarray(predictions[sequence.name], dtype=np.float64)
    if boxes.shape != (len(sequence), 4):
        raise DatasetError(
            f"sequence '{sequence.name}' has {len(sequence)} frames, its predictions the shape {boxes.shape}"
        )
    return boxes


def _percent(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * float(value) for name, value in figures.items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def format_table(report: Report, worst: int = 10) -> str:
    """A table of the figures, and of the sequences with the lowest ones.

    Args:
        worst: how many sequences are listed.
    """
    names = list(report.mean)
    order = sorted(report.sequences, key=lambda name: report.sequences[name][names[0]])
    rows = [["mean of sequences", *report.mean.values()], ["all frames", *report.pooled.values()]]
    rows += [[name, *report.sequences[name].values()] for name in order[:worst]]
    title = f"{len(order)} sequences, convention {report.convention}, rules {report.rules}; the lowest {names[0]} below"
    return f"{title}\n{tabulate(rows, headers=['', *names], floatfmt='.2f', tablefmt='pipe')}"
