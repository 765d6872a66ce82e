"""The list of names that no training dataset may contain."""

from collections.abc import Sequence, Set
from pathlib import Path, PurePosixPath

from effowt_d2.utils.text import read_text

__all__ = ["ExclusionList"]

_SHOWN = 10


class ExclusionList:
    """Names of videos and images, one a line, with ``#`` comments; both slashes, any encoding with a mark.

    Args:
        path: the file; "" for an empty list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not text.
    """

    def __init__(self, path: str):
        self.path = path
        self.names: frozenset[str] = frozenset()
        if path and not Path(path).is_file():
            raise FileNotFoundError(f"DATA.EXCLUSION_LIST {path}: no such file")
        if path:
            lines = (_posix(line.split("#")[0].strip()).strip("/") for line in read_text(path).splitlines())
            self.names = frozenset(line.removeprefix("./") for line in lines if line)

    def check(self, dataset_name: str, records: Sequence[dict]) -> None:
        """Raise ValueError if a dataset's images or their folders have names of the list."""
        found = self._found(records)
        if found:
            raise ValueError(
                f"dataset '{dataset_name}' has {len(found)} names of the exclusion list {self.path}: {_listed(found)}"
            )

    def unused(self, records: Sequence[dict]) -> str:
        """Warning about entries that match no record, which may be misspelt; "" if there are none."""
        unused = self.names - self._found(records)
        if not unused:
            return ""
        return f"{len(unused)} of {len(self.names)} entries of {self.path} match no image: {_listed(unused)}"

    def _found(self, records: Sequence[dict]) -> set[str]:
        if not self.names:
            return set()
        return {entry for record in records for entry in _names_of(record["file_name"]) & self.names}


def _listed(names: Set[str]) -> str:
    return ", ".join(sorted(names)[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _posix(name: str) -> str:
    return name.replace("\\", "/")


def _names_of(file_name: str) -> set[str]:
    """Every name a list may call an image or its video by: runs of folders, with or without the file extension."""
    path = PurePosixPath(_posix(file_name))
    names = set()
    for parts in (path.parts, path.with_suffix("").parts):
        names |= {"/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}
    return names
