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
    json_file: str | os.PathLike, image_root: str | os.PathLike, source: str = "", frame_rate: float | None = None
) -> list[dict]:
    """Records of all frames that a TAO-format file lists, by video and then by ``frame_index``.

    Args:
        json_file: the annotations; they may lack tracks and boxes, as a test split's do.
        image_root: the folder that ``file_name`` is relative to.
        source: a sentence on where the files come from, for the error.
        frame_rate: listed frames per second; None: as the file tells it. There a video's ``fps`` is the rate that
            ``frame_index`` counts at.

    Returns:
        Detectron2 records: ``file_name, height, width, image_id, video_id, frame_index, annotations``; each
        annotation has ``bbox`` (``XYWH_ABS``), ``category_id`` 0 (object), ``iscrowd``, ``instance_id`` and
        ``track_id``. ``frame_rate`` is there where it's known.

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
        records = _records(document, image_root)
        rates = _frame_rates(document)
    except json.JSONDecodeError as error:
        raise ValueError(f"{json_file} is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{json_file} is not in TAO format: {type(error).__name__} {error}") from error
    for record in records:
        rate = frame_rate or rates.get(record["video_id"])
        if rate is not None:
            record["frame_rate"] = rate
    return records


def _frame_rates(document: dict) -> dict:
    """Listed frames per second of the videos that have an ``fps``, by id; frames in between may not be listed."""
    places: dict = {}
    for image in document["images"]:
        places.setdefault(image["video_id"], []).append(image["frame_index"])
    rates = {}
    for video in document.get("videos", ()):
        frames = places.get(video["id"], ())
        if video.get("fps") and frames:
            rates[video["id"]] = video["fps"] * max(1, len(frames) - 1) / max(1, max(frames) - min(frames))
    return rates


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
        json_file, image_root, source, frame_rate: see :func:`load_tao_format`.
        split: training refuses all but "train".
    """
    json_file, image_root = os.fspath(json_file), os.fspath(image_root)
    DatasetCatalog.register(name, lambda: load_tao_format(json_file, image_root, source, frame_rate))
    MetadataCatalog.get(name).set(
        thing_classes=["object"], json_file=json_file, image_root=image_root, evaluator_type="tao_ow", split=split
    )


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
