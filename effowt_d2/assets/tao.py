"""TAO's categories, as its files and COCO's classes name them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["is_tao", "tao_names", "tao_vocabulary"]

_FILE = Path(__file__).with_name("tao_categories.txt")
_NAMELESS = "-"


@cache
def tao_names() -> dict[int, tuple[str, ...]]:
    """Per category id its names: TAO's first, then COCO's where that is another; ``_`` for blanks."""
    return {number: tuple(name for name in names if name != _NAMELESS) for number, names in _lines()}


def tao_vocabulary() -> list[str]:
    """The names of the 369 categories of TAO's evaluation videos, in the order of their ids."""
    return [names[0] for _, names in _lines() if names[0] != _NAMELESS]


def _lines() -> list[tuple[int, list[str]]]:
    lines = [line.split() for line in _FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(int(number), names) for number, *names in lines]


def is_tao(categories: Mapping[int, str]) -> bool:
    """Whether categories are TAO's: at least one id has its name there, and none has another.

    Args:
        categories: name by id.
    """
    names = tao_names()
    agree = [name.replace(" ", "_") in names[number] for number, name in categories.items() if number in names]
    return bool(agree) and all(agree)
