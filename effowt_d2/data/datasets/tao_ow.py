"""Datasets in TAO format: TAO itself as TAO-OW uses it, and any folder of the same layout."""

import os
from pathlib import Path

from detectron2.data import DatasetCatalog

from .records import DatasetRecords, load_records
from .registration import register_file

__all__ = ["load_tao_format", "register_all_tao_ow", "register_tao_format"]

_TAO_SOURCE = (
    "TAO's frames and annotations come from its site, taodataset.org, and its repository, TAO-Dataset/tao on GitHub; "
    "unpack them into $DETECTRON2_DATASETS/tao/frames and $DETECTRON2_DATASETS/tao/annotations"
)
_DAVIS_SOURCE = "put a folder of DAVIS sequences in TAO format there (annotations/validation.json, frames/)"

# TAO is annotated once a second
_TAO_RATE = 1.0

# name: folder below DETECTRON2_DATASETS, annotation file, split, where the files come from, frame rate
_DATASETS = {
    "tao_ow_train": ("tao", "train.json", "train", _TAO_SOURCE, _TAO_RATE),
    "tao_ow_val": ("tao", "validation.json", "val", _TAO_SOURCE, _TAO_RATE),
    "tao_ow_test": ("tao", "test_without_annotations.json", "test", _TAO_SOURCE, _TAO_RATE),
    "davis_tao": ("davis_tao", "validation.json", "val", _DAVIS_SOURCE, None),
}


def load_tao_format(
    json_file: str | os.PathLike, image_root: str | os.PathLike, frame_rate: float | None = None
) -> DatasetRecords:
    """Records of all frames that a TAO-format file lists; see
    :func:`effowt_d2.data.datasets.records.load_records`."""
    return load_records(json_file, image_root, "tao", frame_rate)


def register_tao_format(
    name: str,
    json_file: str | os.PathLike,
    image_root: str | os.PathLike,
    *,
    split: str = "val",
    source: str = "",
    frame_rate: float | None = None,
) -> None:
    """Register a dataset in TAO format; nothing is read before it is used.

    Args:
        name: its name in Detectron2's catalogs.
        json_file, image_root, frame_rate: see :func:`load_tao_format`.
        split: training refuses "val" and "test".
        source: a sentence on where the files come from, for the error.
    """
    register_file(name, json_file, image_root, "tao", split=split, hint=source, frame_rate=frame_rate)


def register_all_tao_ow(root: str | os.PathLike | None = None) -> None:
    """Register ``tao_ow_train``, ``tao_ow_val``, ``tao_ow_test`` and ``davis_tao``, but for names that exist.

    Args:
        root: folder of the datasets; default ``$DETECTRON2_DATASETS``, else ``datasets``.
    """
    home = Path(root if root is not None else os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for name, (folder, file, split, source, rate) in _DATASETS.items():
        if name not in DatasetCatalog.list():
            place = home / folder
            files = (place / "annotations" / file, place / "frames")
            register_tao_format(name, *files, split=split, source=source, frame_rate=rate)
