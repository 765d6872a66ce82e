"""Work that may wait for long (an address that doesn't answer, a pipe) in a thread of its own.

FFmpeg waits without letting Python handle a signal. The main thread waits here instead, in short steps, so that a stop
is noted at once. A thread that is still waiting then is left behind; it doesn't keep the process alive.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

__all__ = ["in_background", "read_ahead"]

T = TypeVar("T")

_STEP = 0.05


def in_background(work: Callable[[], T], stop: Callable[[], bool], what: str) -> T:
    """The result of ``work``, or its exception.

    Raises:
        InterruptedError: ``stop`` returned True; the message names ``what`` was interrupted.
    """
    for result in read_ahead(lambda: iter([work()]), stop):
        return result
    raise InterruptedError(f"stopped while {what}")


def read_ahead(make: Callable[[], Iterator[T]], stop: Callable[[], bool], size: int = 4) -> Generator[T, None, None]:
    """The items of an iterator that is made and run in a thread, up to ``size`` of them in advance.

    The items end once ``stop`` returns True.
    """
    items: queue.Queue = queue.Queue(size)
    left = threading.Event()
    threading.Thread(target=_fill, args=(make, items, left), daemon=True).start()
    try:
        while not stop():
            try:
                kind, value = items.get(timeout=_STEP)
            except queue.Empty:
                continue
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        left.set()


def _fill(make: Callable[[], Iterator], items: queue.Queue, left: threading.Event) -> None:
    def put(kind: str, value: object = None) -> bool:
        while not left.is_set():
            try:
                items.put((kind, value), timeout=_STEP)
                return True
            except queue.Full:
                pass
        return False

    try:
        for item in make():
            if not put("item", item):
                return
        put("end")
    # whatever it is belongs to the thread that waits for the items
    except BaseException as error:
        put("error", error)
