"""Reading a dataset: which format it has, its fields, its contradictions."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from effowt_d2.utils.text import read_text

from .completion import complete
from .consistency import check_consistent
from .document import Dataset, DatasetError
from .lists import read_coco, read_coco_vid, read_tao
from .mot import read_mot
from .sequences import read_burst, read_youtube_vis

__all__ = ["FORMATS", "read_dataset", "read_json"]

_JSON_READERS: dict[str, Callable[[Mapping, str], Dataset]] = {
    "coco": read_coco,
    "tao": read_tao,
    "coco_vid": read_coco_vid,
    "youtube_vis": read_youtube_vis,
    "burst": read_burst,
}

FORMATS = (*_JSON_READERS, "mot")
"""Names of the formats that are read."""


def read_dataset(
    source: str | os.PathLike | Mapping,
    image_root: str | os.PathLike | None = None,
    format: str = "",
    *,
    file: str = "",
    check: bool = True,
) -> Dataset:
    """Read an annotated dataset.

    Args:
        source: a JSON file in UTF-8 or with a byte order mark, or its content; for MOTChallenge a folder or a text
            file.
        image_root: the folder that file names are relative to; None: the images are not needed, as for scoring.
        format: out of ``FORMATS``; "" detects it.
        file: name for messages; by default the path.
        check: raise at the first contradiction; False leaves that to
            :func:`effowt_d2.formats.consistency.find_faults`.

    Returns:
        The dataset with every field filled (docs/own_data.md lists the values).

    Raises:
        FileNotFoundError: there is no such file or folder.
        DatasetError: it is in none of the formats or not in the given one, a field is missing or of the wrong type,
            or ``check`` finds a contradiction.
    """
    if format not in ("", *FORMATS):
        raise DatasetError(f"format '{format}' is unknown; the formats are {', '.join(FORMATS)}")
    root = None if image_root is None else Path(image_root)
    if isinstance(source, Mapping):
        dataset = _read_json(source, file or "the dataset", format)
    else:
        dataset = _read_file(Path(source), file or os.fspath(source), root, format)
    complete(dataset, root)
    if check:
        check_consistent(dataset)
    return dataset


def _read_file(path: Path, file: str, root: Path | None, format: str) -> Dataset:
    if not path.exists():
        raise FileNotFoundError(f"annotation file {path} is missing")
    if format == "mot" or (not format and (path.is_dir() or path.suffix.lower() == ".txt")):
        return read_mot(path, file, root or (path if path.is_dir() else path.parent))
    if path.is_dir():
        raise DatasetError(f"{file} is a folder; the format {format} is a JSON file")
    return _read_json(read_json(path), file, format)


def _read_json(document: Any, file: str, format: str) -> Dataset:
    found = format or _detect(document)
    if not found:
        raise DatasetError(f"{file} is in none of the formats {', '.join(FORMATS)}: {_description(document)}")
    if found == "mot" or not isinstance(document, Mapping):
        raise DatasetError(f"{file} is not in the format {found}: {_description(document)}")
    try:
        return _JSON_READERS[found](document, file)
    except DatasetError as error:
        detected = _detect(document)
        if format and detected not in ("", format):
            raise DatasetError(f"{error}; read as {format}, the file looks like {detected}") from None
        raise


def read_json(path: Path) -> Any:
    """The content of a JSON file, in UTF-8 or with a byte order mark.

    Raises:
        DatasetError: it is empty, cut off or no JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        what = "is empty" if not path.stat().st_size else f"is not a complete JSON file: {error}"
        raise DatasetError(f"{path} {what}") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not a JSON file: {error}") from None


def _detect(document: Any) -> str:
    """The format of a JSON document, or ""."""
    if not isinstance(document, Mapping):
        return ""
    if "sequences" in document:
        return "burst"
    images, videos = _keys(document.get("images")), _keys(document.get("videos"))
    if "file_names" in videos:
        return "youtube_vis"
    if "frame_index" in images:
        return "tao"
    if "video_id" in images and ("frame_id" in images or videos):
        return "coco_vid"
    return "coco" if "images" in document else ""


def _keys(entries: Any) -> Sequence[str]:
    first = entries[0] if isinstance(entries, list) and entries else None
    return list(first) if isinstance(first, Mapping) else []


def _description(document: Any) -> str:
    if isinstance(document, Mapping):
        return f"it is an object with {', '.join(map(str, document)) or 'no fields'}"
    if isinstance(document, list):
        keys = _keys(document)
        what = f"it is a list of {len(document)} entries" + (f" with {', '.join(keys)}" if keys else "")
        return what + ("; that is a result file, not a dataset" if "score" in keys else "")
    return f"it holds a {type(document).__name__}"
