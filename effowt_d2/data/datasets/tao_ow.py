"""Datasets in TAO format: TAO itself as TAO-OW uses it, and any folder of the same layout."""

import json
import os
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

__all__ = ["load_tao_format", "register_all_tao_ow", "register_tao_format"]

_TAO_SOURCE = (
    "TAO's frames and annotations come from its site, taodataset.org, and its repository, TAO-Dataset/tao on GitHub; "
    "unpack them into $DETECTRON2_DATASETS/tao/frames and $DETECTRON2_DATASETS/tao/annotations"
)
_DAVIS_SOURCE = "put a folder of DAVIS sequences in TAO format there (annotations/validation.json, frames/)"

# name: folder below DETECTRON2_DATASETS, annotation file, split, where the files come from
_DATASETS = {
    "tao_ow_train": ("tao", "train.json", "train", _TAO_SOURCE),
    "tao_ow_val": ("tao", "validation.json", "val", _TAO_SOURCE),
    "tao_ow_test": ("tao", "test_without_annotations.json", "test", _TAO_SOURCE),
    "davis_tao": ("davis_tao", "validation.json", "val", _DAVIS_SOURCE),
}


def load_tao_format(json_file: str | os.PathLike, image_root: str | os.PathLike, source: str = "") -> list[dict]:
    """Records of all frames that a TAO-format file lists, by video and then by ``frame_index``.

    Args:
        json_file: the annotations; they may lack tracks and boxes, as a test split's do.
        image_root: the folder that ``file_name`` is relative to.
        source: a sentence on where the files come from, for the error.

    Returns:
        Detectron2 records: ``file_name, height, width, image_id, video_id, frame_index, annotations``; each
        annotation has ``bbox`` (``XYWH_ABS``), ``category_id`` 0 (object), ``iscrowd``, ``instance_id`` and
        ``track_id``.

    Raises:
        FileNotFoundError: names the file or folder that is missing.
        ValueError: the file is not in TAO format.
    """
    json_file, image_root = Path(json_file), Path(image_root)
    hint = f"; {source}" if source else ""
    if not json_file.is_file():
        raise FileNotFoundError(f"annotation file {json_file} is missing{hint}")
    if not image_root.is_dir():
        raise FileNotFoundError(f"frame folder {image_root} is missing{hint}")
    try:
        document = json.loads(json_file.read_text())
        return _records(document, image_root)
    except json.JSONDecodeError as error:
        raise ValueError(f"{json_file} is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{json_file} is not in TAO format: {type(error).__name__} {error}") from error


def _records(document: dict, image_root: Path) -> list[dict]:
    records = {
        image["id"]: {
            "file_name": str(image_root / image["file_name"]),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            "video_id": image["video_id"],
            "frame_index": image["frame_index"],
            "annotations": [],
        }
        for image in document["images"]
    }
    for annotation in document.get("annotations", ()):
        records[annotation["image_id"]]["annotations"].append(
            {
                "bbox": annotation["bbox"],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": 0,
                "iscrowd": annotation.get("iscrowd", 0),
                "instance_id": annotation["track_id"],
                "track_id": annotation["track_id"],
            }
        )
    return sorted(records.values(), key=lambda record: (record["video_id"], record["frame_index"]))


def register_tao_format(
    name: str, json_file: str | os.PathLike, image_root: str | os.PathLike, *, split: str = "val", source: str = ""
) -> None:
    """Register a dataset in TAO format; nothing is read before it is used.

    Args:
        name: its name in Detectron2's catalogs.
        json_file, image_root, source: see :func:`load_tao_format`.
        split: training refuses all but "train".
    """
    json_file, image_root = os.fspath(json_file), os.fspath(image_root)
    DatasetCatalog.register(name, lambda: load_tao_format(json_file, image_root, source))
    MetadataCatalog.get(name).set(
        thing_classes=["object"], json_file=json_file, image_root=image_root, evaluator_type="tao_ow", split=split
    )


def register_all_tao_ow(root: str | os.PathLike | None = None) -> None:
    """Register ``tao_ow_train``, ``tao_ow_val``, ``tao_ow_test`` and ``davis_tao``, but for names that exist.

    Args:
        root: folder of the datasets; default ``$DETECTRON2_DATASETS``, else ``datasets``.
    """
    home = Path(root if root is not None else os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for name, (folder, file, split, source) in _DATASETS.items():
        if name not in DatasetCatalog.list():
            place = home / folder
            register_tao_format(name, place / "annotations" / file, place / "frames", split=split, source=source)
