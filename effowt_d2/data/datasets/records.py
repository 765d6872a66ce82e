"""Detectron2's records of a dataset that was read from a file."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from detectron2.structures import BoxMode

from effowt_d2.formats import Dataset, read_dataset

__all__ = ["DatasetRecords", "load_records"]


class DatasetRecords(list):
    """Records with the fields that hold for a whole annotation file.

    Args:
        records: of :func:`load_records`.
        dataset: what was read.

    Attributes:
        file, format: of the dataset.
        categories: names by id.
        open_world: the file's own groups of categories, or None.
        is_video: the records are frames.
        filled, left_out: see :class:`effowt_d2.formats.Dataset`.
    """

    def __init__(self, records: list[dict], dataset: Dataset):
        super().__init__(records)
        self.file: str = dataset.file
        self.format: str = dataset.format
        self.categories: Mapping[int, str] = dataset.category_names
        self.open_world: Mapping | None = dataset.open_world
        self.is_video: bool = dataset.is_video
        self.filled: Counter = dataset.filled
        self.left_out: Counter = dataset.left_out


def load_records(
    source: str | os.PathLike, image_root: str | os.PathLike, format: str = "", frame_rate: float | None = None
) -> DatasetRecords:
    """Records of all images of a dataset; frames by video and then by ``frame_index``.

    Args:
        source, format: see :func:`effowt_d2.formats.read_dataset`.
        image_root: the folder that ``file_name`` is relative to.
        frame_rate: listed frames per second; None: that of the file. There a video's ``fps`` is the rate that
            ``frame_index`` counts at.

    Returns:
        Records with ``file_name, height, width, image_id, annotations``; each annotation has ``bbox`` (``XYWH_ABS``),
        ``category_id`` 0 (object), ``dataset_category_id`` and ``iscrowd``. Frames have ``video_id`` and
        ``frame_index`` too, and ``frame_rate`` where it's known; their annotations ``instance_id`` and ``track_id``.

    Raises:
        FileNotFoundError: names the file or folder that is missing.
        DatasetError: the file cannot be used.
    """
    if not Path(source).exists():
        raise FileNotFoundError(f"annotation file {os.fspath(source)} is missing")
    if not Path(image_root).is_dir():
        raise FileNotFoundError(f"image folder {os.fspath(image_root)} is missing")
    dataset = read_dataset(source, image_root, format)
    records = _records(dataset, Path(image_root))
    if dataset.is_video:
        rates = _frame_rates(dataset)
        for record in records:
            rate = frame_rate or rates.get(record["video_id"])
            if rate is not None:
                record["frame_rate"] = rate
        records.sort(key=lambda record: (record["video_id"], record["frame_index"]))
    return DatasetRecords(records, dataset)


def _records(dataset: Dataset, image_root: Path) -> list[dict]:
    records: dict[int, dict] = {}
    for image in dataset.images:
        records[image.id] = {
            "file_name": str(image_root / image.file_name),
            "height": image.height,
            "width": image.width,
            "image_id": image.id,
            "annotations": [],
        }
        if dataset.is_video:
            records[image.id].update(video_id=image.video_id, frame_index=image.frame_index)
    for annotation in dataset.annotations:
        label = {
            "bbox": list(annotation.bbox),
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": 0,
            "dataset_category_id": annotation.category_id,
            "iscrowd": annotation.iscrowd,
        }
        if dataset.is_video:
            label.update(instance_id=annotation.track_id, track_id=annotation.track_id)
        records[annotation.image_id]["annotations"].append(label)
    return list(records.values())


def _frame_rates(dataset: Dataset) -> dict[int, float]:
    """Listed frames per second of the videos that have an ``fps``, by id; frames in between may not be listed."""
    places: dict[int, list[int]] = {}
    for image in dataset.images:
        places.setdefault(image.video_id, []).append(image.frame_index)
    rates = {}
    for video in dataset.videos:
        frames = places.get(video.id, ())
        if video.fps and frames:
            rates[video.id] = video.fps * max(1, len(frames) - 1) / max(1, max(frames) - min(frames))
    return rates
