"""Work of the main process for all."""

from collections.abc import Callable
from typing import TypeVar

from detectron2.utils import comm

__all__ = ["on_main_process"]

Result = TypeVar("Result")


def on_main_process(work: Callable[[], Result]) -> Result:
    """Call a function in the main process only; all processes call this together.

    Args:
        work: returns something that can be pickled.

    Returns:
        Its result, in every process.

    Raises:
        Exception: what ``work`` raised, in every process.
    """
    result, error = None, None
    if comm.is_main_process():
        try:
            result = work()
        except Exception as problem:
            error = problem
    result, error = comm.all_gather((result, error))[0]
    if error is not None:
        raise error
    return result
