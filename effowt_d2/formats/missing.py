"""Missing image files."""

import os
from collections import Counter
from collections.abc import Sequence

__all__ = ["are_missing", "describe_missing"]

_SHOWN = 8


def are_missing(files: Sequence[str]) -> list[bool]:
    """Per file, whether it is missing or empty. What a path handler fetches (``s3://...``) counts as there."""
    return ["://" not in file and _size(file) == 0 for file in files]


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return 0


def describe_missing(files: Sequence[str], missing: Sequence[bool]) -> str:
    """Number of missing files, by folder.

    Args:
        files: all files.
        missing: per file whether it is; at least one.
    """
    gone = [file for file, is_gone in zip(files, missing) if is_gone]
    folders = Counter(os.path.dirname(file) for file in gone)
    listed = [
        f"{folder or '.'} ({count}{'' if os.path.isdir(folder or '.') else ', no such folder'})"
        for folder, count in folders.most_common(_SHOWN)
    ]
    more = f" and {len(folders) - _SHOWN} more folders" if len(folders) > _SHOWN else ""
    return (
        f"{len(gone)} of {len(files)} image files are missing or empty, in {', '.join(listed)}{more}; first {gone[0]}"
    )
