"""The conventions of one-pass evaluation, which give the same boxes different figures.

A convention first counts, per sequence, how many frames pass each threshold, and then makes figures of the counts, so
that a sequence and all frames of a dataset are scored alike.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from effowt_d2.utils.registry import Registry
from sot.data.sequence import TargetSequence

from .errors import FrameErrors, clip_to_image, frame_errors, is_valid
from .rules import Rules

__all__ = ["CONVENTIONS", "Convention", "Counts"]

SUCCESS = np.arange(21) * 0.05
"""Thresholds of the overlap."""
PRECISION = np.arange(51.0)
"""Thresholds of the distance in pixels."""
NORMALISED = np.arange(51) / 100
"""Thresholds of the normalised distance."""
_HALF, _THREE_QUARTERS, _TWENTY = 10, 15, 20

CONVENTIONS: Registry["Convention"] = Registry("conventions of one-pass evaluation", argument="convention")
"""By name; ``TEST.SOT.CONVENTION`` gives one."""


@dataclass
class Counts:
    """How many of ``frames`` frames pass each threshold, and the sum of their overlaps; counts of sequences add up."""

    frames: int
    success: np.ndarray
    precision: np.ndarray
    normalised: np.ndarray
    overlap: float

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    def curve(self, name: str) -> np.ndarray:
        """The fraction of frames per threshold of ``success``, ``precision`` or ``normalised``; NaN without frames."""
        if not self.frames:
            return np.full_like(getattr(self, name), np.nan, dtype=np.float64)
        return getattr(self, name) / self.frames


class Convention(ABC):
    """Counts of a sequence, and figures of counts.

    Attributes:
        pooled: the figures of a dataset are those of all its frames, else the means over its sequences.
    """

    pooled = False

    @abstractmethod
    def count(self, sequence: TargetSequence, predicted: np.ndarray, rules: Rules) -> Counts:
        """Count the frames of a sequence, predicted boxes (N, 4) x0, y0, x1, y1, by the rules of its dataset."""

    def figures(self, counts: Counts) -> dict[str, float]:
        """Fractions by name, NaN without frames: AUC of success, OP50, OP75, P, Pnorm."""
        success = counts.curve("success")
        return {
            "AUC": float(success.mean()),
            "OP50": float(success[_HALF]),
            "OP75": float(success[_THREE_QUARTERS]),
            "P": float(counts.curve("precision")[_TWENTY]),
            "Pnorm": float(counts.curve("normalised")[_TWENTY]),
        }


def _count(errors: FrameErrors, *, strict: bool) -> Counts:
    overlap = errors.overlap[:, None]
    with np.errstate(invalid="ignore"):
        # an overlap of 0 is a miss even at the threshold 0
        passed = overlap > SUCCESS if strict else (overlap >= SUCCESS) & (overlap > 0)
        return Counts(
            frames=len(overlap),
            success=passed.sum(axis=0),
            precision=(errors.distance[:, None] <= PRECISION).sum(axis=0),
            normalised=(errors.normalised[:, None] <= NORMALISED).sum(axis=0),
            overlap=float(np.nan_to_num(errors.overlap).clip(min=0).sum()),
        )


class Pytracking(Convention):
    """That of the published tables: all frames count, the first one too; success needs more than the threshold."""

    def count(self, sequence: TargetSequence, predicted: np.ndarray, rules: Rules) -> Counts:
        errors = frame_errors(predicted, sequence.boxes)
        absent = ~sequence.valid
        if rules.flags:
            absent |= ~sequence.present
        errors.overlap[absent] = -1
        errors.distance[absent] = -1 if rules.precision_hits else np.inf
        errors.normalised[absent] = -1
        if rules.normalised_by_flag:
            errors.normalised[~sequence.present] = np.inf
            errors.normalised = errors.normalised.astype(np.float32).astype(np.float64)
        return _count(errors, strict=True)


class ValidOnly(Convention):
    """Frames that show the target count, success needs the threshold or more, and a perfect tracker gets 100."""

    def count(self, sequence: TargetSequence, predicted: np.ndarray, rules: Rules) -> Counts:
        return _count(_of_valid(predicted[sequence.visible], sequence.boxes[sequence.visible]), strict=False)

    def figures(self, counts: Counts) -> dict[str, float]:
        """Besides the others AO, the mean overlap, and SR50 and SR75, success at these overlaps."""
        figures = super().figures(counts)
        overlap = counts.overlap / counts.frames if counts.frames else np.nan
        return {**figures, "AO": overlap, "SR50": figures["OP50"], "SR75": figures["OP75"]}


class GOT10k(Convention):
    """The toolkit of GOT-10k: all frames of all sequences in one, without the given ones and those with a cover of 0.

    Boxes are cut to the image, whose size the annotation names.
    """

    pooled = True

    def count(self, sequence: TargetSequence, predicted: np.ndarray, rules: Rules) -> Counts:
        counted = sequence.visible
        counted[0] = False
        if sequence.cover is not None:
            counted &= sequence.cover > 0
        boxes = [predicted[counted], sequence.boxes[counted]]
        if sequence.size is not None:
            boxes = [clip_to_image(part, sequence.size) for part in boxes]
        return _count(_of_valid(*boxes), strict=True)

    def figures(self, counts: Counts) -> dict[str, float]:
        """AO, the mean overlap, and SR50 and SR75, the fraction of frames with more than that."""
        success = counts.curve("success")
        overlap = counts.overlap / counts.frames if counts.frames else np.nan
        return {"AO": overlap, "SR50": float(success[_HALF]), "SR75": float(success[_THREE_QUARTERS])}


class TrackingNet(Convention):
    """The development kit of TrackingNet: whole coordinates, the first box is the true one, areas below the curves.

    Whether its server still does exactly this is not known.
    """

    def count(self, sequence: TargetSequence, predicted: np.ndarray, rules: Rules) -> Counts:
        predicted = np.concatenate([sequence.boxes[:1], predicted[1:]])
        valid = sequence.valid
        return _count(_of_valid(np.round(predicted[valid]), np.round(sequence.boxes[valid])), strict=True)

    def figures(self, counts: Counts) -> dict[str, float]:
        """AUC, P and Pnorm, each the area below its curve over that of the whole range; a perfect AUC is 0.975."""
        pairs = (("AUC", "success"), ("P", "precision"), ("Pnorm", "normalised"))
        return {name: float(_area(counts.curve(curve))) for name, curve in pairs}


def _of_valid(predicted: np.ndarray, true: np.ndarray) -> FrameErrors:
    """The errors where every frame has a target: a predicted box without an area is a miss everywhere."""
    errors = frame_errors(predicted, true)
    bad = ~is_valid(predicted)
    errors.overlap[bad], errors.distance[bad], errors.normalised[bad] = 0, np.inf, np.inf
    return errors


def _area(curve: np.ndarray) -> np.ndarray:
    """By trapezoids, as a fraction."""
    return (curve[1:] + curve[:-1]).mean() / 2


for _name, _convention in (
    ("pytracking", Pytracking()),
    ("valid_only", ValidOnly()),
    ("got10k", GOT10k()),
    ("trackingnet", TrackingNet()),
):
    CONVENTIONS.register(_name)(_convention)
