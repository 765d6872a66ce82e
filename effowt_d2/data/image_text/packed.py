"""Images decoded once and kept as one array on disk, so that training reads them without decoding.

Layout of a packed source: ``images.npy`` (N, S, S, 3) uint8 RGB, and ``index.json`` with the labels, the captions and
what was dropped. It is written once; another side, list of files, or size or time of a file packs it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from effowt_d2.formats.read import read_json
from effowt_d2.utils.files import DiskFullError, is_disk_full, write_atomically

from .sources import Sample, read_square

__all__ = ["PackedImages", "pack"]

_MAX_UNUSABLE = 0.5  # more than this fraction of images that can't be used is a mistake, not damage
logger = logging.getLogger(__name__)


class PackedImages:
    """A packed source.

    Attributes:
        images: (N, S, S, 3) uint8 RGB, read from disk where it is used.
        labels: id of the class of each image; empty for images with captions.
        captions: captions of each image.
        broken: what could not be used, and why.

    Raises:
        OSError: a file is missing.
        ValueError: a file is damaged, or they don't belong together; the message names the file or folder.
    """

    def __init__(self, folder: str | Path) -> None:
        index = _read_index(Path(folder) / "index.json")
        self.images = _open_images(Path(folder) / "images.npy")
        self.labels: list[str] = index["labels"]
        self.captions: list[list[str]] = index["captions"]
        self.broken: list[str] = index["broken"]
        self.signature: str = index["signature"]
        if not len(self.images) == len(self.labels) == len(self.captions):
            raise ValueError(
                f"{folder} is damaged: {len(self.images)} images in images.npy, "
                f"{len(self.labels)} labels and {len(self.captions)} captions in index.json"
            )

    def __len__(self) -> int:
        return len(self.images)

    def report(self) -> None:
        """Log what could not be used."""
        if self.broken:
            count, different = len(self.broken), list(dict.fromkeys(self.broken))  # a file may have many boxes
            total = len(self) + count
            logger.warning("%d of %d images can't be used and are skipped: %s", count, total, different[:10])


def _read_index(file: Path) -> dict:
    index = read_json(file)
    missing = {"labels", "captions", "broken", "signature"} - set(index if isinstance(index, dict) else ())
    if missing:
        raise ValueError(f"{file} is no index of packed images: {sorted(missing)} are missing")
    return index


def _open_images(file: Path) -> np.ndarray:
    try:
        images = np.load(file, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"{file}: expected (N, S, S, 3) uint8, got {images.shape} {images.dtype}")
    return images


def pack(samples: Sequence[Sample], folder: str | Path, *, side: int) -> PackedImages:
    """Decode samples into ``folder``, or open what was packed there from the same files before.

    Images that can't be used are counted, named and skipped.

    Raises:
        DiskFullError: no space; only what is whole is left behind.
        ValueError: there are no samples, more than half of the images can't be used, or what was packed is damaged.
    """
    folder = Path(folder)
    signature = _signature(samples, side)
    if (folder / "index.json").is_file():
        packed = PackedImages(folder)
        if packed.signature == signature:
            packed.report()
            return packed
    if not samples:
        raise ValueError(f"no images to pack into {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.json").unlink(missing_ok=True)
    kept, broken = _decode(samples, folder / "images.npy", side)
    index = {
        "signature": signature,
        "labels": [sample.label for sample in kept],
        "captions": [sample.captions for sample in kept],
        "broken": broken,
    }
    write_atomically(folder / "index.json", lambda stream: stream.write(json.dumps(index).encode()))
    packed = PackedImages(folder)
    packed.report()
    return packed


def _decode(samples: Sequence[Sample], file: Path, side: int) -> tuple[list[Sample], list[str]]:
    raw = file.with_suffix(".raw")
    try:
        kept, broken = _decode_raw(samples, raw, side)
        if len(broken) > _MAX_UNUSABLE * len(samples):
            raise ValueError(f"{len(broken)} of {len(samples)} images can't be used, the first: {broken[0]}")
        _with_header(raw, file, (len(kept), side, side, 3))
    except OSError as error:
        if not is_disk_full(error):
            raise
        free = shutil.disk_usage(file.parent).free
        size = 2 * len(samples) * side * side * 3
        raise DiskFullError(
            f"{file}: {error.strerror}; packing takes up to {size:,} bytes, {free:,} are free"
        ) from error
    finally:
        raw.unlink(missing_ok=True)
    return kept, broken


def _decode_raw(samples: Sequence[Sample], raw: Path, side: int) -> tuple[list[Sample], list[str]]:
    kept, broken = [], []
    with open(raw, "wb") as out:
        for sample in tqdm(samples, desc=f"packing {raw.parent.name}", mininterval=10):
            try:
                image = read_square(sample, side)
            except (OSError, ValueError) as error:
                broken.append(str(error))
                continue
            out.write(image.tobytes())
            kept.append(sample)
    return kept, broken


def _with_header(raw: Path, file: Path, shape: tuple[int, ...]) -> None:
    """The number of usable images is known at the end only, so the array's header is written then.

    Not by a memory map: on a full disk the system kills a process that writes to one.
    """
    with open(raw, "rb") as pixels, open(file, "wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        shutil.copyfileobj(pixels, out)


def _signature(samples: Sequence[Sample], side: int) -> str:
    digest = hashlib.sha256(str(side).encode())
    for sample in samples:
        digest.update(repr((*sample, _state(sample.file))).encode())
    return digest.hexdigest()


def _state(file: str) -> tuple[int, int] | None:
    """Size and time of a file; None where it is missing."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
