"""Lists of JSON objects as numpy columns, with errors that name the file, the entry and the value."""

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

__all__ = ["EntryList"]


@dataclass(frozen=True)
class EntryList:
    """A stretch of one list of objects, able to say where an entry comes from.

    Args:
        entries: the objects as the json module returns them.
        file: name of the file for messages.
        error: exception class to raise.
        label: how the file calls the list, for instance "annotations".
        start: index of the first entry in the whole list.
    """

    entries: list[Any]
    file: str
    error: type[Exception]
    label: str = "entry"
    start: int = 0

    def fail(self, index: int, message: str) -> None:
        """Raise the list's error for one entry.

        Args:
            index: position in this stretch.
            message: what came and what was expected.
        """
        raise self.error(f"{self.file}: {self.label} {self.start + index}: {message}")

    def values(self, key: str) -> list:
        """The field of every entry; an entry that is no object or lacks the field is an error."""
        try:
            return [entry[key] for entry in self.entries]
        except (KeyError, TypeError):
            for index, entry in enumerate(self.entries):
                if not isinstance(entry, dict):
                    self.fail(index, f"expected an object with the field '{key}', got {_short(entry)}")
                if key not in entry:
                    self.fail(index, f"the field '{key}' is missing; there are {', '.join(map(repr, entry))}")
            raise

    def integers(self, key: str, default: int | None = None) -> np.ndarray:
        """(n,) int64 column of a field holding whole numbers.

        Args:
            key: the field.
            default: value where the field is missing; None makes a missing field an error.
        """
        values = self.values(key) if default is None else [entry.get(key, default) for entry in self.entries]
        if set(map(type, values)) <= {int}:
            try:
                return np.array(values, dtype=np.int64)
            except OverflowError:
                pass
        bad = next(i for i, v in enumerate(values) if type(v) is not int or not -(2**63) <= v < 2**63)
        return self.fail(bad, f"'{key}' must be a 64-bit integer, got {_short(values[bad])}")

    def numbers(self, key: str) -> np.ndarray:
        """(n,) float64 column of a numeric field."""
        values = self.values(key)
        if set(map(type, values)) <= {int, float}:
            return np.array(values, dtype=np.float64)
        bad = next(i for i, v in enumerate(values) if type(v) not in (int, float))
        return self.fail(bad, f"'{key}' must be a number, got {_short(values[bad])}")

    def boxes(self, key: str = "bbox") -> np.ndarray:
        """(n, 4) float64 column of a field holding [x, y, width, height]."""
        values = self.values(key)
        if set(map(type, values)) <= {list, tuple} and set(map(len, values)) <= {4}:
            flat = list(chain.from_iterable(values))
            if set(map(type, flat)) <= {int, float}:
                return np.array(flat, dtype=np.float64).reshape(-1, 4)
        bad = next(i for i, v in enumerate(values) if not _is_box(v))
        return self.fail(bad, f"'{key}' must be 4 numbers [x, y, width, height], got {_short(values[bad])}")


def _is_box(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return False
    return all(type(number) in (int, float) for number in value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
