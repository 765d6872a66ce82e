"""Shares the file that each data worker reads with the main process, for errors of dead workers."""

import contextlib
import os
import re
import time
import weakref
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import get_worker_info

__all__ = ["DataWorkerError", "WorkerWatch", "explain_worker_exit"]

_WATCHES: "weakref.WeakSet[WorkerWatch]" = weakref.WeakSet()


class DataWorkerError(RuntimeError):
    """A data worker died; the message reports how, and what it was reading."""


class WorkerWatch:
    """A note per data worker, in shared memory: its process id, and the record it is at.

    Args:
        records: dicts with a ``file_name``.
        num_workers: data workers of the loader.
    """

    def __init__(self, records: Sequence[dict], num_workers: int):
        self.records = records
        # shared memory is the only channel: a signal ends a worker without an exception
        self._notes = torch.full((num_workers, 2), -1).share_memory_() if num_workers else None
        _WATCHES.add(self)

    @contextlib.contextmanager
    def at(self, index: int) -> Iterator[None]:
        """Note, in a data worker, that record ``index`` is being read within."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        note = self._notes[worker.id]
        note[0], note[1] = os.getpid(), index
        try:
            yield
        finally:
            note[1] = -1

    def files(self) -> dict[int, str | None]:
        """By process id the file that a worker is, or was, reading; None between two files."""
        notes = [] if self._notes is None else self._notes.tolist()
        return {pid: self.records[at]["file_name"] if at >= 0 else None for pid, at in notes if pid >= 0}


def explain_worker_exit(error: BaseException) -> DataWorkerError | None:
    """The error of a data worker's death, with the file it was reading; None for other errors.

    Torch raises it wherever the main process happens to be, not only where the loader is asked for a batch. Receiving a
    batch from a dead worker can raise an error of the connection before torch receives the signal; then this function waits
    for torch's error.

    Raises:
        RuntimeError: torch's error, if it is raised during the call; pass it to this function.
    """
    files = {pid: file for watch in _WATCHES for pid, file in watch.files().items()}
    if files and isinstance(error, (ConnectionError, EOFError)):
        time.sleep(1)
    found = re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)", str(error), re.DOTALL)
    if not isinstance(error, RuntimeError) or not found:
        return None
    lines = [f"data worker {found.group(1)} {found.group(2).strip()}"]
    for pid in map(int, found.group(1).split(",")):
        if pid in files:
            lines.append(f"Worker {pid} was reading {files[pid] or 'no file at that moment'}.")
    if "Killed" in found.group(2):
        lines.append("This mostly is the system when memory runs out: try fewer DATALOADER.NUM_WORKERS.")
    return DataWorkerError(" ".join(lines))
