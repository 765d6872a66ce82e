"""Where labelled images come from: class folders, captions in a table, boxes of a detection data set.

Each source is a list of :class:`Sample`: a file, the region of it, and an id of the vocabulary or captions.
"""

from __future__ import annotations

import csv
import io
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from effowt_d2.data.images import read_record_image
from effowt_d2.formats.read import read_json
from effowt_d2.utils.text import read_text

__all__ = ["IMAGE_EXTENSIONS", "Sample", "box_samples", "caption_samples", "folder_samples", "read_square"]

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_CONTEXT = 1.2  # side of a square around a box, in long sides of the box
logger = logging.getLogger(__name__)


class Sample(NamedTuple):
    """One image to be learnt from."""

    file: str
    label: str
    box: tuple[float, float, float, float] | None = None
    captions: tuple[str, ...] = ()


def folder_samples(root: str | Path) -> list[Sample]:
    """Images in folders named by the ids of their classes; what else is in them is counted in the log.

    Raises:
        FileNotFoundError: ``root`` is no folder.
        ValueError: no folder in it has an image.
    """
    root = _folder(root)
    samples, skipped, empty = [], Counter(), []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(folder.iterdir())
        images = [file for file in files if file.suffix.lower() in IMAGE_EXTENSIONS]
        skipped.update(_kind(file) for file in files if file.suffix.lower() not in IMAGE_EXTENSIONS)
        samples += [Sample(str(file), folder.name) for file in images]
        if not images:
            empty.append(folder.name)
    if not samples:
        raise ValueError(f"{root} has no class folder with images ({', '.join(IMAGE_EXTENSIONS)}) in it")
    if skipped:
        logger.warning("%s: %d files that are no images skipped: %s", root, skipped.total(), dict(skipped))
    if empty:
        logger.warning("%s: %d folders without images: %s", root, len(empty), empty[:10])
    return samples


def _kind(file: Path) -> str:
    return "folder" if file.is_dir() else file.suffix.lower() or "no extension"


def caption_samples(table: str | Path) -> list[Sample]:
    """Images of a CSV table with the columns ``image`` (relative to the table) and ``caption``, one caption a line.

    Rows with too many or too few cells, without an image or without a caption are skipped; the log has their lines.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is no UTF-8 text or no CSV, a column is missing, or there is no caption in it.
    """
    table, captions, skipped = Path(table), defaultdict(list), defaultdict(list)
    for line, row in _rows(table):
        if problem := _problem(row):
            skipped[problem].append(line)
        else:
            captions[row["image"]].append(row["caption"].strip())
    for problem, lines in skipped.items():
        logger.warning("%s: %d rows with %s skipped, lines %s", table, len(lines), problem, lines[:10])
    if not captions:
        raise ValueError(f"{table} has no row with an image and a caption")
    return [Sample(str(table.parent / image), "", None, tuple(texts)) for image, texts in captions.items()]


def _rows(table: Path) -> Iterator[tuple[int, dict]]:
    """The rows of a table of captions, each with the number of its last line."""
    reader = csv.DictReader(io.StringIO(read_text(table), newline=""), strict=True)
    try:
        names = list(reader.fieldnames or ())
        missing = {"image", "caption"} - set(names)
        if missing:
            raise ValueError(f"{table}: columns {sorted(missing)} are missing, it has {names}")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{table}, row from line {reader.line_num + 1} on: {error}") from error


def _problem(row: dict) -> str:
    if None in row:
        return "too many cells"
    if row["image"] is None or row["caption"] is None:
        return "too few cells"
    if not row["image"].strip():
        return "no image"
    return "" if row["caption"].strip() else "no caption"


def box_samples(
    manifest: str | Path,
    *,
    images: str | Path = "",
    split: str = "train",
    min_side: float = 24,
    per_class: int = 400,
    seed: int = 0,
) -> list[Sample]:
    """Squares around labelled boxes of a manifest: a JSON list of ``{"file", "split", "boxes", "cls"}``.

    Boxes that are empty, inverted or not finite are skipped, by name in the log. Records without ``cls`` are passed
    over.

    Args:
        manifest: boxes are ``[x0, y0, x1, y1]`` in pixels.
        images: folder that the files are relative to; empty for the manifest's.
        split: records of another split are passed over.
        min_side: shortest long side of a box in pixels.
        per_class: most boxes of a class, taken at random.
        seed: of that choice.

    Raises:
        FileNotFoundError: there is no such manifest.
        ValueError: it is no such list, a record is malformed, or no box is left; the message names file and record.
    """
    manifest, found, dropped = Path(manifest), defaultdict(list), []
    images = Path(images) if images else manifest.parent
    records = _records(manifest)
    for number, record in enumerate(records):
        if record.get("split", split) != split:
            continue
        for box, label in _labelled_boxes(record, f"{manifest}, record {number}"):
            x0, y0, x1, y1 = box
            if not (all(map(math.isfinite, box)) and x0 < x1 and y0 < y1):
                dropped.append(f"{box} of {record['file']}")
            elif max(x1 - x0, y1 - y0) >= min_side:
                found[label].append(Sample(str(images / record["file"]), label, tuple(box)))
    if dropped:
        logger.warning("%s: %d boxes without an area skipped: %s", manifest, len(dropped), dropped[:10])
    if not found:
        splits = dict(Counter(str(record.get("split", split)) for record in records))
        raise ValueError(
            f"{manifest} has no labelled box of {min_side:g} pixels or more in the split {split!r}; "
            f"its records by split: {splits}"
        )
    random = np.random.default_rng(seed)
    samples = []
    for label in sorted(found):
        kept = random.permutation(len(found[label]))[:per_class]
        samples += [found[label][i] for i in sorted(kept)]
    return samples


def _records(manifest: Path) -> list[dict]:
    records = read_json(manifest)
    if not isinstance(records, list):
        held = f"an object with the keys {list(records)[:5]}" if isinstance(records, dict) else repr(records)[:80]
        raise ValueError(f"{manifest}: expected a list of records with file, boxes and cls, got {held}")
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{manifest}, record {number}: expected an object, got {record!r:.80}")
    return records


def _labelled_boxes(record: dict, place: str) -> list[tuple[list[float], str]]:
    """The boxes of a record with their labels; none where it has no labels at all."""
    missing = [key for key in ("file", "boxes") if key not in record]
    if missing:
        raise ValueError(f"{place} has no {' and no '.join(missing)}, it has {list(record)}")
    file, boxes, labels = record["file"], record["boxes"], record.get("cls")
    if not isinstance(file, str) or not isinstance(boxes, list) or not isinstance(labels, list | None):
        raise ValueError(
            f"{place}: file must be a text, boxes and cls lists, got {file!r}, {boxes!r:.80}, {labels!r:.80}"
        )
    if labels is None:
        return []
    if len(boxes) != len(labels):
        raise ValueError(f"{place} ({file}): {len(boxes)} boxes, but {len(labels)} labels in cls")
    for box, label in zip(boxes, labels):
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise ValueError(f"{place} ({file}): a box is [x0, y0, x1, y1], four numbers, got {box!r:.80}")
        if not isinstance(label, str):
            raise ValueError(f"{place} ({file}): labels are texts, ids of the vocabulary, got {label!r:.80}")
    return list(zip(boxes, labels))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_square(sample: Sample, side: int) -> np.ndarray:
    """The image of a sample, or the square around its box, as (side, side, 3) uint8 RGB.

    A whole image is cropped to its central square; a square around a box is moved into the image where it fits. Of a box
    that reaches over the edge the part inside counts.

    Raises:
        ImageReadError: the file is missing, broken or cut off.
        ValueError: the box lies outside the image.
    """
    image = Image.fromarray(read_record_image({"file_name": sample.file}, "RGB"))
    width, height = image.size
    if sample.box is None:
        square, centre = min(width, height), (width / 2, height / 2)
    else:
        x0, y0, x1, y1 = np.clip(sample.box, 0, (width, height) * 2).tolist()
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"image {sample.file}: the box {sample.box} is outside its {width} x {height} pixels")
        square = min(_CONTEXT * max(x1 - x0, y1 - y0), max(width, height))
        centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    left, top = (_inside(c, square, length) for c, length in zip(centre, (width, height)))
    region = (round(left), round(top), round(left + square), round(top + square))
    if sample.box is None:
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=region))
    # outside the image a crop is black
    return np.asarray(image.crop(region).resize((side, side), Image.Resampling.BICUBIC))


def _inside(centre: float, square: float, length: int) -> float:
    """Start of a square on an axis, moved so that it lies in the image, or centred where it is larger."""
    if square >= length:
        return (length - square) / 2
    return min(max(centre - square / 2, 0), length - square)


def _folder(path: str | Path) -> Path:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{path} is no folder of class folders")
    return Path(path)
