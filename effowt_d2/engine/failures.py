"""Errors with an external cause, reported by their message alone: unusable input, a full disk, a data worker that exited."""

import contextlib
import logging
import os
import shutil
import traceback
from collections.abc import Iterator

from torch.distributed.elastic.multiprocessing import SignalException

from effowt_d2.checkpoint import CheckpointError, DiskFullError
from effowt_d2.data.worker_watch import DataWorkerError, explain_worker_exit
from effowt_d2.utils.files import is_disk_full

__all__ = [
    "FAILURES",
    "RendezvousError",
    "SetupError",
    "WorkerError",
    "cut_half_line",
    "explained_failures",
    "explained_setup",
]


class RendezvousError(ConnectionError):
    """The machines of a run did not meet."""


class SetupError(ValueError):
    """A run can't begin with this config, data or weights; the message is that of the error it was raised from."""


class WorkerError(RuntimeError):
    """A process that the run started has failed; the message is that of its error."""


FAILURES = (
    CheckpointError,
    DataWorkerError,
    DiskFullError,
    RendezvousError,
    SetupError,
    SignalException,
    WorkerError,
)
"""Errors with an external cause, whose message suffices without a traceback."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def explained_failures(output_dir: str) -> Iterator[None]:
    """Within, errors of a full disk and of data workers that died come with what is known about them.

    Args:
        output_dir: folder of the run.

    Raises:
        DiskFullError: the disk of ``output_dir`` is full; older checkpoints are as they were.
        DataWorkerError: a data worker died.
    """
    try:
        yield
    except Exception as error:
        try:
            explained = _explain(error, output_dir)
        except RuntimeError as report:
            # of a data worker's death, which torch raises wherever this process happens to be
            explained = explain_worker_exit(report)
        if explained is not None:
            raise explained from error
        raise


@contextlib.contextmanager
def explained_setup() -> Iterator[None]:
    """Within, errors that this package raises on the config, data or weights of a run become :class:`SetupError`.

    Errors that other code raises (torch, a project's module) pass unchanged, so that their traceback is printed.

    Raises:
        SetupError: from a ``ValueError`` or ``OSError`` that a module of this package raised.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        if _raised_in_this_package(error):
            raise SetupError(str(error)) from error
        raise


def _raised_in_this_package(error: Exception) -> bool:
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].partition(".")[0] == __name__.partition(".")[0]


def _explain(error: Exception, output_dir: str) -> DataWorkerError | DiskFullError | None:
    for cause in _causes(error):
        explained = explain_worker_exit(cause) or _explain_full_disk(cause, output_dir)
        if explained is not None:
            return explained
    return None


def _causes(error: BaseException | None) -> list[BaseException]:
    """The first thing that went wrong comes first: what is closed after a failure may fail for the same reason."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    # a DiskFullError wraps the system's error and adds to it
    return sorted(reversed(chain), key=lambda cause: not isinstance(cause, DiskFullError))


def _explain_full_disk(error: BaseException, output_dir: str) -> DiskFullError | None:
    if not is_disk_full(error):
        return None
    if isinstance(error, DiskFullError):
        message = str(error)
    else:
        free = shutil.disk_usage(output_dir).free
        what = getattr(error, "filename", None) or f"a file of OUTPUT_DIR {output_dir}"
        message = f"{what} could not be written: {error.strerror}; {free:,} bytes are free in {output_dir}"
    return DiskFullError(f"{message}. Older checkpoints are unchanged: free disk space, then continue with --resume")


def cut_half_line(file: str) -> None:
    """Cut off what follows a file's last line end, which a run that died while writing has left.

    Args:
        file: of lines that are only appended; need not exist.
    """
    if not os.path.exists(file):
        return
    with open(file, "rb+") as stream:
        whole = b"".join(line for line in stream if line.endswith(b"\n"))
        if stream.tell() > len(whole):
            stream.truncate(len(whole))
            logger.warning("cut off the half-written last line of %s", file)
