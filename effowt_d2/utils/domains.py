"""The values that a setting may have."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Choice", "Domain", "Flag", "Integer", "ListOf", "OneOf", "Real", "Text", "domain_like"]


class Domain:
    """Values that are allowed; ``str`` of a domain lists them."""

    def holds(self, value: Any) -> bool:
        """Whether the value is allowed."""
        raise NotImplementedError


@dataclass(frozen=True)
class Flag(Domain):
    """True or False."""

    def holds(self, value: Any) -> bool:
        return isinstance(value, bool)

    def __str__(self) -> str:
        return "True or False"


@dataclass(frozen=True)
class Integer(Domain):
    """An integer from ``low`` to ``high``, both included; None: no limit."""

    low: int | None = None
    high: int | None = None

    def holds(self, value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        least = "" if self.low is None else f" of at least {self.low}"
        return "an integer" + (least if self.high is None else f" from {self.low} to {self.high}")


@dataclass(frozen=True)
class Real(Domain):
    """A finite number from ``low`` to ``high``; an open end is not allowed itself."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        start = "(" if self.open_low or self.low == -math.inf else "["
        end = ")" if self.open_high or self.high == math.inf else "]"
        return f"a number in {start}{self.low:g}, {self.high:g}{end}"


@dataclass(frozen=True)
class Text(Domain):
    """A text; ``empty``: it may have no characters."""

    empty: bool = True

    def holds(self, value: Any) -> bool:
        return isinstance(value, str) and (self.empty or bool(value))

    def __str__(self) -> str:
        return "a text" if self.empty else "a text that is not empty"


@dataclass(frozen=True)
class Choice(Domain):
    """One of some names; a function where the names are not known yet, such as those of a registry."""

    names: tuple[str, ...] | Callable[[], Iterable[str]]

    def _names(self) -> list[str]:
        return list(self.names() if callable(self.names) else self.names)

    def holds(self, value: Any) -> bool:
        return isinstance(value, str) and value in self._names()

    def __str__(self) -> str:
        return f"one of {self._names()}"


@dataclass(frozen=True)
class ListOf(Domain):
    """A list or tuple of ``low`` to ``high`` values; None: no limit."""

    item: Domain
    low: int = 0
    high: int | None = None

    def holds(self, value: Any) -> bool:
        if not isinstance(value, (list, tuple)) or len(value) < self.low:
            return False
        return (self.high is None or len(value) <= self.high) and all(map(self.item.holds, value))

    def __str__(self) -> str:
        if self.high is None:
            return f"a list of {f'at least {self.low} values' if self.low else 'values'}, each {self.item}"
        size = str(self.low) if self.low == self.high else f"{self.low} to {self.high}"
        return f"a list of {size} values, each {self.item}"


class OneOf(Domain):
    """A value of any of some domains; None stands for itself."""

    def __init__(self, *domains: Domain | None):
        self.domains = domains

    def holds(self, value: Any) -> bool:
        return any(value is None if domain is None else domain.holds(value) for domain in self.domains)

    def __str__(self) -> str:
        return " or ".join(map(str, self.domains))


class _Plain(Domain):
    """Anything that holds no number that is infinite or NaN."""

    def holds(self, value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return all(map(self.holds, value))
        return not isinstance(value, float) or math.isfinite(value)

    def __str__(self) -> str:
        return "finite numbers, texts or lists of them"


def domain_like(value: Any) -> Domain:
    """The domain of a setting about which only its default is known: its type, with finite numbers."""
    kinds: dict[type, Domain] = {bool: Flag(), int: Integer(), float: Real(), str: Text()}
    if isinstance(value, (list, tuple)):
        return ListOf(_Plain())
    return kinds.get(type(value), _Plain())
