"""The CSV files of the runs: kept whole on disk, read back as text."""

import csv
import io
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from effowt_d2.utils.files import write_atomically

__all__ = [
    "CURVE_COLUMNS",
    "DONE",
    "FAILED",
    "KILLED",
    "RUNNING",
    "RUN_COLUMNS",
    "SCORES",
    "Table",
    "open_curves",
    "open_runs",
]

DONE, FAILED, KILLED, RUNNING = "done", "failed", "killed", "running"

SCORES = tuple(f"{name}-{subset}" for subset in ("all", "known", "unknown") for name in ("OWTA", "D.Re", "A.Acc"))

_NAME = ("group", "name", "seed", "digest")
RUN_COLUMNS = (
    *_NAME, "status", "error", "config", "keys", "of", "revision", "started", "seconds", "steps",
    "trained_parameters", "side_parameters", "training_mib", "checkpoint_mib", "peak_rss_mib", *SCORES,
)  # fmt: skip
CURVE_COLUMNS = (*_NAME, "step", *SCORES)


class Table:
    """Rows of one CSV file. Every change replaces the file at once, so that it is never half written.

    Args:
        file: need not exist.
        columns: of the file, in order.
        key: the columns that name a row; a row put in with the name of another replaces it.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, file: str | os.PathLike, columns: tuple[str, ...], key: tuple[str, ...]):
        self.file = Path(file)
        self._columns, self._key = columns, key
        self._lock = threading.Lock()
        self._rows = {self._name(row): row for row in self._read()}

    @property
    def rows(self) -> list[dict[str, str]]:
        """All rows, the oldest first; copies."""
        with self._lock:
            return [dict(row) for row in self._rows.values()]

    def get(self, *name: object) -> dict[str, str] | None:
        """A copy of the row of this name."""
        with self._lock:
            row = self._rows.get(tuple(map(str, name)))
            return dict(row) if row else None

    def put(self, rows: Iterable[dict[str, object]]) -> None:
        """Add rows, each at the end of the table or in place of the one of its name.

        Raises:
            OSError: the file can't be written.
        """
        with self._lock:
            for row in rows:
                text = {column: _text(row.get(column)) for column in self._columns}
                self._rows[self._name(text)] = text
            self._write()

    def drop(self, condition: Callable[[dict[str, str]], bool]) -> None:
        """Take out the rows that fulfil a condition."""
        with self._lock:
            self._rows = {name: row for name, row in self._rows.items() if not condition(row)}
            self._write()

    def _name(self, row: dict[str, str]) -> tuple[str, ...]:
        return tuple(row[column] for column in self._key)

    def _read(self) -> list[dict[str, str]]:
        if not self.file.is_file():
            return []
        with open(self.file, newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != self._columns:
                raise ValueError(
                    f"{self.file} has the columns {', '.join(reader.fieldnames or ())}; "
                    f"expected are {', '.join(self._columns)}"
                )
            rows = list(reader)
        for number, row in enumerate(rows, start=2):
            if None in row or None in row.values():
                raise ValueError(f"{self.file}, row {number}: not {len(self._columns)} cells")
        return rows

    def _write(self) -> None:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows.values())
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, lambda binary: binary.write(stream.getvalue().encode()))


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def open_runs(file: str | os.PathLike) -> Table:
    """One row per run."""
    return Table(file, RUN_COLUMNS, _NAME)


def open_curves(runs: str | os.PathLike) -> Table:
    """One row per evaluation, in ``curves.csv`` beside the table of the runs."""
    return Table(Path(runs).parent / "curves.csv", CURVE_COLUMNS, (*_NAME, "step"))
