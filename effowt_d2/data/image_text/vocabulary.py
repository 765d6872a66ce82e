"""The words of labelled images: a file of classes with their names, their kinds and a description.

A vocabulary is a text file of one class a line, in columns separated by tabs:

    ids            names                          kinds              description
    n02099601,gr   golden retriever, retriever    n02084071          an English breed with a long silky golden coat
    n02084071      dog, domestic dog              animal

``ids`` are folder names or box labels, ``names`` its words (the first is printed), ``kinds`` ids of other
lines that are also true of its images. The last two columns may be missing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from effowt_d2.utils.text import read_text

__all__ = ["Row", "Vocabulary", "name_key", "read_rows", "read_vocabulary"]

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """One class."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    description: str = ""


def name_key(name: str) -> str:
    """What two names have in common that are one to the tokenizer: it ignores case and the number of blanks."""
    return " ".join(name.casefold().split())


class Vocabulary(Sequence[Row]):
    """Classes by number, and the numbers of the classes that each class belongs to.

    A name of several rows is ambiguous and removed from all of them, whatever its case and blanks.

    Args:
        rows: in the order of their numbers.

    Attributes:
        index: number of the row by each of its ids.
        kinds: for each row the numbers of its kinds.
        shared_names: names that were skipped.

    Raises:
        ValueError: an id occurs twice, a kind is no id, or a row is left without a name.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        times = Counter(key for row in rows for key in {name_key(name) for name in row.names})
        self.shared_names = sorted({name for row in rows for name in row.names if times[name_key(name)] > 1})
        self._rows = [row._replace(names=tuple(n for n in row.names if times[name_key(n)] == 1)) for row in rows]
        self.index: dict[str, int] = {}
        for number, (row, read) in enumerate(zip(self._rows, rows)):
            if not row.names:
                raise ValueError(f"the class {row.ids[0]!r} has no name of its own: {list(read.names)} are shared")
            for id_ in row.ids:
                if id_ in self.index:
                    raise ValueError(f"the id {id_!r} occurs twice: {rows[self.index[id_]].names}, {read.names}")
                self.index[id_] = number
        self.kinds = [self._numbers(row) for row in self._rows]
        if self.shared_names:
            logger.warning("%d names of several classes skipped: %s", len(self.shared_names), self.shared_names[:10])

    def _numbers(self, row: Row) -> tuple[int, ...]:
        unknown = [kind for kind in row.kinds if kind not in self.index]
        if unknown:
            raise ValueError(f"kinds {unknown} of the class {row.ids[0]!r} are no ids of the vocabulary")
        own = self.index[row.ids[0]]
        return tuple(dict.fromkeys(self.index[k] for k in row.kinds if self.index[k] != own))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> Row:
        return self._rows[number]


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a vocabulary file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no UTF-8 text or has no lines, a line has no names, or the vocabulary does not fit
            together; the message has the file's name.
    """
    rows = read_rows(path)
    try:
        return Vocabulary(rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_rows(path: str | Path) -> list[Row]:
    """The lines of a vocabulary file as they are; empty lines and lines that start with ``#`` are passed over.

    Errors: as for :func:`read_vocabulary`, except that the rows need not fit together.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = [column.strip() for column in line.split("\t")] + ["", "", ""]
        ids, names, kinds = (tuple(filter(None, map(str.strip, column.split(",")))) for column in columns[:3])
        if not ids or not names:
            raise ValueError(f"{path}, line {number}: expected ids and names separated by a tab, got {line[:80]!r}")
        rows.append(Row(ids, tuple(dict.fromkeys(names)), kinds, columns[3]))
    if not rows:
        raise ValueError(f"{path} has no lines of ids and names")
    return rows
