"""What was said about tracks, as a JSON file beside their results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.outputs import check_file

from .results import RESULT_EXTENSIONS

__all__ = ["DescriptionsFile", "descriptions_path"]


def descriptions_path(results: str | Path) -> Path:
    """``tracks.descriptions.json`` for ``tracks.json``, ``tracks.csv`` and so on."""
    path = Path(results)
    ending = next((known for known in RESULT_EXTENSIONS if path.name.lower().endswith(known)), path.suffix)
    return path.with_name(f"{path.name[: len(path.name) - len(ending)]}.descriptions.json")


class DescriptionsFile:
    """A list of ``{"track_id", "views"}``, written on ``close``; without tracks there is no file.

    Args:
        path: where to.

    Raises:
        OSError: the file can't be written there.
    """

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self.tracks: list[dict] = []

    def add(self, track_id: int, views: Sequence[Mapping]) -> None:
        """Take in a track; ids count as in the results' JSON."""
        self.tracks.append({"track_id": track_id, "views": [dict(view) for view in views]})

    def close(self) -> None:
        """Write the file."""
        if self.tracks:
            text = json.dumps(self.tracks, indent=1)
            write_atomically(self.path, lambda stream: stream.write(text.encode()))
