"""Validation of arguments: errors name the argument, valid values are returned."""

import math
from collections.abc import Collection

from .arguments import bad_argument

__all__ = ["check_choice", "check_count", "check_number", "check_positive"]


def check_choice(name: str, value: str, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of ``choices``, or raise ValueError listing them."""
    if value not in choices:
        raise bad_argument(name, f"must be one of {', '.join(choices)}, got {value!r}")
    return value


def check_count(name: str, value: int, low: int = 1) -> int:
    """Return ``value`` as an int of at least ``low``, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise bad_argument(name, f"must be an integer of at least {low}, got {value!r}")
    return value


def check_number(name: str, value: float, low: float = 0.0, high: float = math.inf) -> float:
    """Return ``value`` as a finite float in [low, high], or raise ValueError."""
    if not _is_number(value) or not low <= value <= high:
        limits = f"of at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise bad_argument(name, f"must be a number {limits}, got {value!r}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """Return ``value`` as a finite float above 0, or raise ValueError."""
    if not _is_number(value) or value <= 0:
        raise bad_argument(name, f"must be a number above 0, got {value!r}")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
