"""Files written whole or not at all, and errors of a full disk that say so."""

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable
from typing import Any, BinaryIO

__all__ = ["DiskFullError", "is_disk_full", "write_atomically"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(OSError):
    """A file could not be written for want of space; the message tells which, how much it takes and what is free."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system reported a full disk, a used up quota or a file that may not grow further."""
    return isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL)


def write_atomically(file: str, write: Callable[[BinaryIO], None]) -> None:
    """Write a file such that others see the old one or the whole new one, even if this process or machine dies.

    Args:
        file: what to write or replace; its folder must exist.
        write: gets the open binary file.

    Raises:
        DiskFullError: no space.
        OSError: no folder, or no right to write. In either case nothing is left behind.
    """
    temporary = f"{file}.tmp"
    try:
        with open(temporary, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        # torch reports a full disk as a RuntimeError of its writer, behind which the system's own error is hidden
        if isinstance(error, (OSError, RuntimeError)):
            raise _explained(error, file, write) from error
        raise
    _sync_folder(os.path.dirname(os.path.abspath(file)))


def _explained(error: BaseException, file: str, write: Callable[[BinaryIO], None]) -> OSError:
    cause = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    if cause is None or not cause.strerror:
        return OSError(f"{file} could not be written: {str(error).splitlines()[0]}")
    message = f"{file} could not be written: {cause.strerror}"
    if not is_disk_full(cause):
        return OSError(message)
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(file))).free
    return DiskFullError(f"{message}; it takes {_size(write):,} bytes, and {free:,} are free there")


def _size(write: Callable[[BinaryIO], None]) -> int:
    counter = _Counter()
    write(counter)
    return counter.count


class _Counter(io.RawIOBase):
    """Takes in everything and keeps nothing but its length."""

    count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        length = memoryview(data).nbytes
        self.count += length
        return length


def _sync_folder(folder: str) -> None:
    """The new name is only safe once its folder is on disk; not every file system can do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
