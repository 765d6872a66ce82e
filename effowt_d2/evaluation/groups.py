"""Which category ids are known, unknown or distractors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

__all__ = ["SUBSETS", "CategoryGroups", "check_subsets", "choose_groups", "tao_groups"]

SUBSETS = ("all", "known", "unknown", "distractor")


@dataclass(frozen=True)
class CategoryGroups:
    """The three disjoint groups of category ids of a dataset.

    Attributes:
        known: ids labelled in training.
        distractor: ids too close to a known one to count as unknown.
        unknown: ids of the unknown group; None means every id in neither of the other two.
    """

    known: frozenset[int]
    distractor: frozenset[int] = frozenset()
    unknown: frozenset[int] | None = None

    def __post_init__(self) -> None:
        both = (self.known & self.distractor) | (self.unknown or frozenset()) & (self.known | self.distractor)
        if both:
            raise ValueError(f"category ids {sorted(both)} are in two of known, distractor, unknown")

    def members(self, subset: str, category_ids: np.ndarray) -> np.ndarray:
        """Which categories belong to a subset.

        Args:
            subset: "all", "known", "unknown" or "distractor".
            category_ids: (n,) integers.

        Returns:
            (n,) bool. "all" holds every id, also one of no group.
        """
        if subset == "all":
            return np.ones(len(category_ids), dtype=bool)
        if subset == "unknown" and self.unknown is None:
            return ~_isin(category_ids, self.known | self.distractor)
        return _isin(category_ids, getattr(self, subset))


@cache
def tao_groups() -> CategoryGroups:
    """TAO-OW's groups as the trackeval package has them: 78 known ids, 45 distractors, others to 1999."""
    try:
        from trackeval.datasets import TAO_OW
    except ImportError as problem:
        raise ImportError(
            "The groups of TAO category ids come from the package trackeval, which cannot be imported: "
            "pip install trackeval==1.3.0, or give the groups of your own dataset (docs/evaluation.md)"
        ) from problem
    dataset = TAO_OW.__new__(TAO_OW)  # its constructor wants files; the lists need none
    dataset._split_known_unknown_distractor()
    return CategoryGroups(frozenset(dataset.knowns), frozenset(dataset.distractors), frozenset(dataset.unknowns))


def choose_groups(groups: CategoryGroups | Mapping | None, in_file: Mapping | None, file: str) -> CategoryGroups:
    """The groups to score with: the given ones, else the ground truth file's own, else TAO's.

    Args:
        groups: groups given by the caller, as an object or as ``{"known": ids, "distractor": ids}``.
        in_file: the file's top-level field "open_world", if any.
        file: name of the file for messages.

    Raises:
        ValueError: the mapping lacks "known", holds other fields, or its ids overlap or are no integers.
    """
    if isinstance(groups, CategoryGroups):
        return groups
    if groups is not None:
        return _from_mapping(groups, "groups")
    if in_file is not None:
        return _from_mapping(in_file, f"{file}: open_world")
    return tao_groups()


def check_subsets(subsets: Sequence[str]) -> None:
    """Raise ValueError unless ``subsets`` names one or more existing subsets, each once."""
    if isinstance(subsets, str) or not subsets or len(set(subsets)) != len(subsets):
        raise ValueError(f"subsets must be a list of different names out of {', '.join(SUBSETS)}; got {subsets!r}")
    for subset in subsets:
        if subset not in SUBSETS:
            raise ValueError(f"unknown subset {subset!r}; there are {', '.join(SUBSETS)}")


def _from_mapping(groups: Mapping, where: str) -> CategoryGroups:
    fields = {"known", "distractor", "unknown"}
    if not isinstance(groups, Mapping) or "known" not in groups or set(groups) - fields:
        raise ValueError(f"{where}: expected {{'known': [ids], 'distractor': [ids]}}, got {groups!r}")
    ids = {name: _as_ids(values, f"{where}: {name}") for name, values in groups.items() if values is not None}
    try:
        return CategoryGroups(**ids)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from None


def _as_ids(values: Iterable, where: str) -> frozenset[int]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ValueError(f"{where}: category ids must be integers, got {value!r}")
    return frozenset(int(value) for value in values)


def _isin(category_ids: np.ndarray, group: frozenset[int]) -> np.ndarray:
    return np.isin(category_ids, np.fromiter(group, dtype=np.int64, count=len(group)))
