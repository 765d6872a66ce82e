"""Datasets by their names in Detectron2's catalogs."""

import os

from detectron2.data import MetadataCatalog
from detectron2.utils.file_io import PathManager

from .document import Dataset, DatasetError
from .missing import are_missing
from .read import read_dataset

__all__ = ["read_registered"]


def read_registered(name: str, *, images: bool = False, skip_missing: bool = False, check: bool = True) -> Dataset:
    """Read the file behind a registered dataset.

    Its metadata has ``json_file``, and may have ``image_root`` and ``format`` (detected otherwise).

    Args:
        name: in Detectron2's catalogs.
        images: the images are needed, so their names and sizes must be there.
        skip_missing: leave out images whose files are missing, and the videos that have such.
        check: see :func:`effowt_d2.formats.read_dataset`.

    Raises:
        DatasetError: the metadata has no ``json_file``, or the file is not right.
        FileNotFoundError: the file is missing.
    """
    metadata = MetadataCatalog.get(name)
    file = metadata.get("json_file", None)
    if not file:
        raise DatasetError(
            f"the metadata of dataset '{name}' has no 'json_file' (an annotation file); it has "
            f"{sorted(metadata.as_dict())}"
        )
    root = metadata.get("image_root", None)
    needed = images or skip_missing
    dataset = read_dataset(
        PathManager.get_local_path(file), (root or "") if needed else None, metadata.get("format", ""), check=check
    )
    if not skip_missing:
        return dataset
    missing = are_missing([os.path.join(root or "", image.file_name) for image in dataset.images])
    return dataset.without_images([image.id for image, gone in zip(dataset.images, missing) if gone])
