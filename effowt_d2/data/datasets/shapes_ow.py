"""ShapesOW in Detectron2's catalogs: rendered on first use, never at import."""

from __future__ import annotations

import json
import os
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit, ensure_rendered, write_images, write_videos
from effowt_d2.data.shapes_ow.vocabulary import DEFAULT_KNOWN, KNOWN_COUNTS

from .records import DatasetRecords, load_records

EVALUATED = {
    "val": VideoSplit(name="val"),
    "test": VideoSplit(name="test"),
    "val_changing": VideoSplit(name="val", changing=True),
}
"""What ``shapes_ow_val`` and the others hold, by their folders' names."""

CLIPS = {
    "train_clips": VideoSplit(name="train", videos=60),
    "train_clips_changing": VideoSplit(name="train", videos=60, changing=True),
}
"""What ``shapes_ow_train_clips`` and the other hold, videos to train on."""


def load_shapes_ow_images(split: ImageSplit, folder: Path) -> list[dict]:
    """Records of a training split, rendered into ``folder`` if it isn't there.

    Args:
        split: parameters of the split.
        folder: its place.

    Returns:
        Detectron2 records: ``file_name, height, width, image_id, annotations``; each annotation has ``bbox``
        (``XYWH_ABS``), ``category_id`` 0 (object), ``iscrowd``, ``segmentation`` (RLE) and ``instance_id``.

    Raises:
        PermissionError: it has to be rendered and ``folder`` cannot be written.
    """
    ensure_rendered(folder, parameters=split.parameters, write=lambda partial: write_images(split, partial))
    document = json.loads((folder / "annotations.json").read_text())
    return _records(document, folder, instance_key="id")


def load_shapes_ow_videos(split: VideoSplit, folder: Path) -> list[dict]:
    """Records of a video split's frames, by video and then by ``frame_index``; rendered if it isn't there.

    Args:
        split: parameters of the split.
        folder: its place.

    Returns:
        As :func:`load_shapes_ow_images`, with ``video_id, frame_index, video_length`` in each record and
        ``track_id`` (equal to ``instance_id``) in each annotation.

    Raises:
        PermissionError: it has to be rendered and ``folder`` cannot be written.
    """
    ensure_rendered(folder, parameters=split.parameters, write=lambda partial: write_videos(split, partial))
    document = json.loads((folder / f"annotations_{DEFAULT_KNOWN}.json").read_text())
    records = _records(document, folder, instance_key="track_id")
    for record, image in zip(records, document["images"], strict=True):
        record.update(video_id=image["video_id"], frame_index=image["frame_index"], video_length=split.frames)
        for annotation in record["annotations"]:
            annotation["track_id"] = annotation["instance_id"]
    return sorted(records, key=lambda record: (record["video_id"], record["frame_index"]))


def load_shapes_ow_clips(split: VideoSplit, folder: Path) -> DatasetRecords:
    """Records of a video split for training, with categories and groups; rendered if it isn't there.

    Raises:
        PermissionError: it has to be rendered and ``folder`` cannot be written.
    """
    ensure_rendered(folder, parameters=split.parameters, write=lambda partial: write_videos(split, partial))
    return load_records(folder / f"annotations_{DEFAULT_KNOWN}.json", folder, "tao")


def _records(document: dict, folder: Path, *, instance_key: str) -> list[dict]:
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        by_image[annotation["image_id"]].append(
            {
                "bbox": annotation["bbox"],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": 0,
                "iscrowd": annotation["iscrowd"],
                "segmentation": annotation["segmentation"],
                "instance_id": annotation[instance_key],
            }
        )
    return [
        {
            "file_name": str(folder / image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            "annotations": by_image[image["id"]],
        }
        for image in document["images"]
    ]


def register_all_shapes_ow(root: str | os.PathLike | None = None) -> None:
    """Register ``shapes_ow_train``, ``_val``, ``_test`` (8 known shapes), the same with ``_4`` and ``_16``,
    ``shapes_ow_train_clips``, videos to train on, and ``shapes_ow_val_changing`` (with ``_4`` and ``_16``) and
    ``shapes_ow_train_clips_changing``, the same videos with objects whose looks change.

    The frames of the val and test names are the same for every number of known shapes; only the groups they
    are scored by differ. Nothing is rendered or read here. Names already registered are left alone.

    Args:
        root: folder of the datasets; default ``$DETECTRON2_DATASETS``, else ``datasets``.
    """
    home = Path(root if root is not None else os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser() / "shapes_ow"
    for known in KNOWN_COUNTS:
        suffix = "" if known == DEFAULT_KNOWN else f"_{known}"
        folder = home / f"train{suffix}"
        _register(
            f"shapes_ow_train{suffix}",
            lambda split=ImageSplit(known=known), folder=folder: load_shapes_ow_images(split, folder),
            folder / "annotations.json",
            evaluator_type="coco",
        )
        for name, split in EVALUATED.items():
            folder = home / name
            _register(
                f"shapes_ow_{name}{suffix}",
                lambda split=split, folder=folder: load_shapes_ow_videos(split, folder),
                folder / f"annotations_{known}.json",
                evaluator_type="tao_ow",
            )
    for name, split in CLIPS.items():
        folder = home / name
        _register(
            f"shapes_ow_{name}",
            lambda split=split, folder=folder: load_shapes_ow_clips(split, folder),
            folder / f"annotations_{DEFAULT_KNOWN}.json",
            evaluator_type="tao_ow",
            split="train",
        )


def _register(name: str, load, annotations: Path, **metadata) -> None:
    """Register a dataset whose annotation file lies in the folder of its images."""
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, load)
        files = {"json_file": str(annotations), "image_root": str(annotations.parent)}
        MetadataCatalog.get(name).set(thing_classes=["object"], **files, **metadata)
