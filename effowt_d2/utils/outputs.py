"""Checks that an output file or folder is writable, before any work."""

import argparse
import os
from pathlib import Path

__all__ = ["check_file", "check_folder", "output_file"]


def output_file(path: str) -> str:
    """``type`` of a command-line option that names a file to write, see :func:`check_file`."""
    try:
        check_file(Path(path))
    except OSError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None
    return path


def check_file(path: Path) -> None:
    """Make sure a file can be written at ``path``, before any work is done for it; makes its folder.

    Raises:
        IsADirectoryError, NotADirectoryError, PermissionError: the path can't be written, and why.
    """
    if path.is_dir():
        raise IsADirectoryError(f"output {path} is a folder, a file name was expected")
    check_folder(path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"output {path} exists and is not writable")


def check_folder(path: Path) -> None:
    """Make the folder ``path`` if it's missing and make sure files can be written in it.

    Raises:
        NotADirectoryError, PermissionError: a part of the path is a file, or the folder is not writable.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"output folder {path}: a part of this path is a file") from None
    except PermissionError:
        raise PermissionError(f"output folder {path} can't be made: no permission") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"output folder {path} is not writable")
