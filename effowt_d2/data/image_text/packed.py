"""Images decoded once and kept as one array on disk, so that training reads them without decoding.

Layout of a packed source: ``images.npy`` (N, S, S, 3) uint8 RGB, and ``index.json`` with the labels, the captions and
what was dropped. It is written once; a changed list of files or side packs it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .sources import Sample, read_square

__all__ = ["PackedImages", "pack"]

_MAX_UNREADABLE = 0.5  # more than this fraction of files that can't be read is a mistake, not damage
logger = logging.getLogger(__name__)


class PackedImages:
    """A packed source.

    Attributes:
        images: (N, S, S, 3) uint8 RGB, read from disk where it is used.
        labels: id of the class of each image; empty for images with captions.
        captions: captions of each image.
        broken: files that could not be read.
    """

    def __init__(self, folder: str | Path) -> None:
        index = json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))
        self.images = np.load(Path(folder) / "images.npy", mmap_mode="r")
        self.labels: list[str] = index["labels"]
        self.captions: list[list[str]] = index["captions"]
        self.broken: list[str] = index["broken"]
        self.signature: str = index["signature"]

    def __len__(self) -> int:
        return len(self.images)


def pack(samples: Sequence[Sample], folder: str | Path, *, side: int) -> PackedImages:
    """Decode samples into ``folder``, or open what was packed there from the same files before.

    Files that can't be read are counted, named and skipped.

    Raises:
        ValueError: there are no samples, or more than half of the files can't be read.
    """
    folder = Path(folder)
    signature = _signature(samples, side)
    if (folder / "index.json").is_file():
        packed = PackedImages(folder)
        if packed.signature == signature:
            return packed
    if not samples:
        raise ValueError(f"no images to pack into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").unlink(missing_ok=True)
    kept, broken = _decode(samples, folder / "images.npy", side)
    if broken:
        logger.warning("%d of %d images can't be read and are skipped: %s", len(broken), len(samples), broken[:10])
    index = {
        "signature": signature,
        "labels": [sample.label for sample in kept],
        "captions": [sample.captions for sample in kept],
        "broken": broken,
    }
    partial = folder / "index.json.partial"
    partial.write_text(json.dumps(index), encoding="utf-8")
    os.replace(partial, folder / "index.json")
    return PackedImages(folder)


def _decode(samples: Sequence[Sample], file: Path, side: int) -> tuple[list[Sample], list[str]]:
    raw = file.with_suffix(".raw")
    kept, broken = [], []
    with open(raw, "wb") as out:
        for sample in tqdm(samples, desc=f"packing {file.parent.name}", mininterval=10):
            try:
                out.write(read_square(sample, side).tobytes())
                kept.append(sample)
            except (OSError, ValueError, SyntaxError) as error:  # whatever Pillow raises for damaged files
                broken.append(f"{sample.file} ({type(error).__name__})")
    if len(broken) > _MAX_UNREADABLE * len(samples):
        raw.unlink()
        raise ValueError(f"{len(broken)} of {len(samples)} images can't be read, the first: {broken[0]}")
    _with_header(raw, file, (len(kept), side, side, 3))
    return kept, broken


def _with_header(raw: Path, file: Path, shape: tuple[int, ...]) -> None:
    """The number of readable images is known at the end only, so the array's header is written then."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    source = np.memmap(raw, dtype=np.uint8, mode="r", shape=shape)
    for start in range(0, shape[0], 1024):
        array[start : start + 1024] = source[start : start + 1024]
    array.flush()
    raw.unlink()


def _signature(samples: Sequence[Sample], side: int) -> str:
    digest = hashlib.sha256(str(side).encode())
    for sample in samples:
        digest.update(repr(tuple(sample)).encode())
    return digest.hexdigest()
