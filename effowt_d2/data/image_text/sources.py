"""Where labelled images come from: class folders, captions in a table, boxes of a detection data set.

Each source is a list of :class:`Sample`: a file, the region of it, and an id of the vocabulary or captions.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

__all__ = ["IMAGE_EXTENSIONS", "Sample", "box_samples", "caption_samples", "folder_samples", "read_square"]

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_CONTEXT = 1.2  # side of a square around a box, in long sides of the box


class Sample(NamedTuple):
    """One image to be learnt from."""

    file: str
    label: str
    box: tuple[float, float, float, float] | None = None
    captions: tuple[str, ...] = ()


def folder_samples(root: str | Path) -> list[Sample]:
    """Images in folders named by the ids of their classes; other files are passed over.

    Raises:
        FileNotFoundError: ``root`` is no folder.
        ValueError: no folder in it has an image.
    """
    root = _folder(root)
    samples = [
        Sample(str(file), folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_EXTENSIONS
    ]
    if not samples:
        raise ValueError(f"{root} has no class folder with images ({', '.join(IMAGE_EXTENSIONS)}) in it")
    return samples


def caption_samples(table: str | Path) -> list[Sample]:
    """Images of a CSV table with the columns ``image`` (relative to the table) and ``caption``, one caption a line.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a column is missing.
    """
    table, captions = Path(table), defaultdict(list)
    with open(table, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"image", "caption"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{table}: columns {sorted(missing)} are missing, it has {reader.fieldnames}")
        for line in reader:
            if line["caption"] and line["caption"].strip():
                captions[line["image"]].append(line["caption"].strip())
    return [Sample(str(table.parent / image), "", None, tuple(texts)) for image, texts in captions.items()]


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

    Args:
        manifest: boxes are ``[x0, y0, x1, y1]`` in pixels.
        images: folder that the files are relative to; empty for the manifest's.
        split: records of another split are passed over.
        min_side: shortest long side of a box in pixels.
        per_class: most boxes of a class, taken at random.
        seed: of that choice.
    """
    manifest, found = Path(manifest), defaultdict(list)
    images = Path(images) if images else manifest.parent
    for record in json.loads(manifest.read_text(encoding="utf-8")):
        if record.get("split", split) != split:
            continue
        for box, label in zip(record["boxes"], record.get("cls") or ()):
            if max(box[2] - box[0], box[3] - box[1]) >= min_side:
                found[label].append(Sample(str(images / record["file"]), label, tuple(box)))
    random = np.random.default_rng(seed)
    samples = []
    for label in sorted(found):
        kept = random.permutation(len(found[label]))[:per_class]
        samples += [found[label][i] for i in sorted(kept)]
    return samples


def read_square(sample: Sample, side: int) -> np.ndarray:
    """The image of a sample, or the square around its box, as (side, side, 3) uint8 RGB.

    A whole image is cropped to its central square; a square around a box is moved into the image where it fits.

    Raises:
        OSError, ValueError: the file is missing, broken or cut off.
    """
    with Image.open(sample.file) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    width, height = image.size
    if sample.box is None:
        square, centre = min(width, height), (width / 2, height / 2)
    else:
        x0, y0, x1, y1 = sample.box
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
