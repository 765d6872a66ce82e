"""Which categories are known, unknown or distractors: one definition for training and scoring."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from effowt_d2.assets.tao import is_tao, tao_names

__all__ = ["SUBSETS", "CategoryGroups", "check_subsets", "choose_groups", "find_categories", "tao_groups"]

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
        """Mask of the categories in a subset.

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
            "pip install trackeval==1.3.0, or give the groups of your own dataset (docs/evaluate.md)"
        ) from problem
    dataset = TAO_OW.__new__(TAO_OW)  # its constructor needs files; the lists need none
    dataset._split_known_unknown_distractor()
    return CategoryGroups(frozenset(dataset.knowns), frozenset(dataset.distractors), frozenset(dataset.unknowns))


def choose_groups(
    groups: CategoryGroups | Mapping | None,
    in_file: Mapping | None,
    file: str,
    categories: Mapping[int, str],
    *,
    partial: bool = False,
    tao_lists: bool = True,
) -> CategoryGroups | None:
    """The groups of a dataset: the given ones, else its file's own, else TAO's where its categories are TAO's.

    Args:
        groups: groups given by the caller, as an object or as ``{"known": ids or names, "distractor": ...}``.
        in_file: the file's top-level field "open_world", if any.
        file: name of the file for messages.
        categories: the dataset's categories, name by id. A name stands for all ids that have it.
        partial: given names and ids that the dataset lacks are passed over, for groups made for several datasets.
        tao_lists: False for still images, to whose labels TAO's lists don't apply.

    Returns:
        The groups; None where nothing defines them.

    Raises:
        ValueError: a mapping lacks "known", holds other fields, names a category that is not there, or its groups
            overlap.
    """
    if isinstance(groups, CategoryGroups):
        return groups
    if groups is not None:
        return _from_mapping(groups, f"{file}: groups", categories, partial)
    if in_file is not None:
        return _from_mapping(in_file, f"{file}: open_world", categories, False)
    return tao_groups() if tao_lists and is_tao(categories) else None


def find_categories(
    wanted: Iterable[int | str], categories: Mapping[int, str], where: str
) -> tuple[frozenset[int], list[int | str]]:
    """The ids of some categories.

    Args:
        wanted: ids, and names as the dataset has them (``_`` counts as a blank); for TAO's categories COCO's names
            serve too. Any integer is an id, also of a category that is not listed.
        categories: name by id.
        where: for messages.

    Returns:
        The ids, all that have the name, and the names that no category has.

    Raises:
        ValueError: ``wanted`` is no list, or an entry neither an integer nor a text.
    """
    if isinstance(wanted, (str, bytes, Mapping)) or not isinstance(wanted, Iterable):
        raise ValueError(f"{where}: expected a list of category ids or names, got {wanted!r}")
    by_name = _ids_by_name(categories)
    found: set[int] = set()
    missing: list[int | str] = []
    for value in wanted:
        if isinstance(value, str):
            found |= by_name.get(_plain(value), set())
            missing += [] if _plain(value) in by_name else [value]
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            found.add(int(value))
        else:
            raise ValueError(f"{where}: a category is an integer id or a name, got {value!r}")
    return frozenset(found), missing


def check_subsets(subsets: Sequence[str]) -> None:
    """Raise ValueError unless ``subsets`` names one or more existing subsets, each once."""
    if isinstance(subsets, str) or not subsets or len(set(subsets)) != len(subsets):
        raise ValueError(f"subsets must be a list of different names out of {', '.join(SUBSETS)}; got {subsets!r}")
    for subset in subsets:
        if subset not in SUBSETS:
            raise ValueError(f"unknown subset {subset!r}; there are {', '.join(SUBSETS)}")


def _from_mapping(groups: Mapping, where: str, categories: Mapping[int, str], partial: bool) -> CategoryGroups:
    fields = {"known", "distractor", "unknown"}
    if not isinstance(groups, Mapping) or "known" not in groups or set(groups) - fields:
        raise ValueError(f"{where}: expected {{'known': [ids or names], 'distractor': [...]}}, got {groups!r}")
    ids = {}
    for name, values in groups.items():
        if values is None:
            continue
        ids[name], missing = find_categories(values, categories, f"{where}: {name}")
        if missing and not partial:
            similar = difflib.get_close_matches(str(missing[0]), categories.values(), n=8, cutoff=0)
            raise ValueError(
                f"{where}: {name}: no category is named {', '.join(map(repr, missing))}; "
                f"of {len(categories)} names the most similar are {', '.join(map(repr, similar)) or 'none'}"
            )
    try:
        return CategoryGroups(**ids)
    except ValueError as problem:
        raise ValueError(f"{where}: {problem}") from None


def _ids_by_name(categories: Mapping[int, str]) -> dict[str, set[int]]:
    others = tao_names() if is_tao(categories) else {}
    ids: dict[str, set[int]] = {}
    for number, name in categories.items():
        for known_as in (name, *others.get(number, ())):
            ids.setdefault(_plain(known_as), set()).add(number)
    return ids


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _isin(category_ids: np.ndarray, group: frozenset[int]) -> np.ndarray:
    return np.isin(category_ids, np.fromiter(group, dtype=np.int64, count=len(group)))
