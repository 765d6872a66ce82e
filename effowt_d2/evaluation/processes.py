"""A function over many items in worker processes that share nothing with this one.

The workers come from a fork server: a process that is started afresh, imports this package once, and is forked for
each worker. It has no threads, no locks somebody holds and no CUDA, all of which a fork of a training process has.
"""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from types import ModuleType
from typing import TypeVar

__all__ = ["WorkerDiedError", "map_in_processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# items handed out per worker: it finds the next one waiting when it has done one
AHEAD = 2


class WorkerDiedError(RuntimeError):
    """A worker process ended before its work was done."""


def map_in_processes(function: Callable[[Item], Result], items: Iterable[Item], processes: int) -> Iterator[Result]:
    """Like ``map``, in worker processes; of the items only a few exist at a time.

    Args:
        function: of a module that can be imported. The workers don't run the script that this process runs, which
            therefore needs no ``if __name__ == "__main__"``, and whose functions they don't have.
        items: picklable.
        processes: number of workers.

    Yields:
        The results in the order of the items.

    Raises:
        WorkerDiedError: a worker was killed.
        Exception: what ``function`` raises.
    """
    waiting: deque = deque()
    pool = ProcessPoolExecutor(processes, mp_context=_context(function.__module__), initializer=_end_with_parent)
    try:
        for item in items:
            with _without_script():
                waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            f"one of {processes} worker processes died; if the memory ran out, take fewer (workers=1 starts none)"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _context(module: str) -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # has no effect on a server that runs already; the workers import the module themselves then
    context.set_forkserver_preload([module])
    return context


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Within it, processes start without running this process's script once more, as multiprocessing has it."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next item forever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
