"""Files and folders that appear when they are whole, and errors of a full disk."""

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

__all__ = ["DiskFullError", "is_disk_full", "partial_name", "publish", "whole_folder", "write_atomically"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(OSError):
    """A file could not be written because the disk is full; the message has its path, its size and the free space."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the system reported a full disk, a used up quota or a file that may not grow further."""
    return isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno in _FULL)


def write_atomically(file: str | os.PathLike, write: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Write a file such that others see the old one or the whole new one, even if this process dies.

    Args:
        file: what to write or replace; its folder must exist.
        write: gets the open binary file; called once more, with a stream that only counts, where the disk is full.
        durable: wait until the file is on the disk, so that the machine may die, too. A file of many that can be made
            again is not worth the wait.

    Raises:
        DiskFullError: no space.
        OSError: no folder, or no right to write. In either case nothing is left behind.
    """
    file = os.fspath(file)
    temporary = f"{file}.tmp"
    try:
        with open(temporary, "wb") as stream:
            write(stream)
        publish(temporary, file, durable=durable)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        # torch reports a full disk as a RuntimeError of its writer, behind which the system's own error is hidden
        if isinstance(error, (OSError, RuntimeError)):
            raise _explained(error, file, write) from error
        raise


def partial_name(path: Path) -> Path:
    """The name to write ``path`` under until it is whole, where that takes long or an encoder opens the file itself.

    It has the id of this process, so that two runs don't mix, and the extension of ``path``, as encoders go by it.
    """
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def publish(partial: str | os.PathLike, path: str | os.PathLike, *, durable: bool = True) -> None:
    """Give a whole file or folder its name, in one step; a file that has the name is replaced.

    Args:
        partial: the file or folder, closed.
        path: its name, on the same disk.
        durable: see :func:`write_atomically`.

    Raises:
        OSError: the content or the name could not be written; ``path`` is as before.
    """
    if durable and not os.path.isdir(partial):
        _sync(partial)
    os.replace(partial, path)
    if durable:
        # not every file system can do that for a folder
        with contextlib.suppress(OSError):
            _sync(os.path.dirname(os.path.abspath(path)))


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which gets the name ``path`` when it is whole; after an error or Ctrl-C nothing of it is left.

    Args:
        path: nothing has this name yet, or an empty folder, which is replaced. Folders above it are made.

    Raises:
        OSError: there is something else, or a folder that can't be replaced; or there is no right to write.
    """
    if path.exists() and os.listdir(path):
        raise FileExistsError(f"{path} is not empty; name a new folder, or an empty one")
    place = path.resolve()
    if place.is_mount() or place == Path.cwd():
        kind = "a mount point" if place.is_mount() else "the current folder"
        raise FileExistsError(f"{path} is {kind}, which can't be replaced; name a folder in it")
    partial = partial_name(place)
    partial.mkdir(parents=True)
    try:
        yield partial
        publish(partial, place)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _explained(error: BaseException, file: str, write: Callable[[BinaryIO], object]) -> OSError:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    if cause is None or not cause.strerror:
        return OSError(f"{file} could not be written: {str(error).splitlines()[0]}")
    message = f"{file} could not be written: {cause.strerror}"
    if not is_disk_full(cause):
        return OSError(message)
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(file))).free
    return DiskFullError(f"{message}; it takes {_size(write):,} bytes, and {free:,} are free there")


def _size(write: Callable[[BinaryIO], object]) -> int:
    counter = _Counter()
    write(cast(BinaryIO, counter))
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


def _sync(path: str | os.PathLike) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
