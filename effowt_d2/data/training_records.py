"""The records that training runs on: known classes only, class-agnostic, and nothing of the test videos."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path, PurePath

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

__all__ = ["load_training_records"]

logger = logging.getLogger(__name__)


def load_training_records(cfg: CfgNode) -> list[dict]:
    """Load ``DATASETS.TRAIN``: every category becomes 0 ("object"), whatever the dataset.

    Labels of categories outside ``DATA.CLASSES`` are dropped, as though nobody had drawn them; images that have
    no label left are dropped under ``DATALOADER.FILTER_EMPTY_ANNOTATIONS``.

    Returns:
        Records with ``annotations``.

    Raises:
        ValueError: no dataset is named, one has no annotations or may not be trained on, a class or a listed
            name is wrong, or a box is not finite.
        KeyError: a dataset is not registered.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: it must name the datasets to train on")
    excluded = _read_exclusion_list(cfg.DATA.EXCLUSION_LIST)
    records = []
    for name in cfg.DATASETS.TRAIN:
        _refuse_evaluation_data(name)
        loaded = DatasetCatalog.get(name)
        _check_annotated(name, loaded)
        _refuse_excluded(name, loaded, excluded, cfg.DATA.EXCLUSION_LIST)
        kept = _kept_categories(name, cfg.DATA.CLASSES)
        records += [_class_agnostic(record, kept) for record in loaded]
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        before = len(records)
        records = [record for record in records if any(not a.get("iscrowd", 0) for a in record["annotations"])]
        logger.info("%d of %d training images have labels", len(records), before)
    if not records:
        wanted = f" of DATA.CLASSES {cfg.DATA.CLASSES}" if cfg.DATA.CLASSES else ""
        raise ValueError(f"{', '.join(cfg.DATASETS.TRAIN)}: no image has a label{wanted}")
    return records


def _refuse_evaluation_data(name: str) -> None:
    metadata = MetadataCatalog.get(name)
    if metadata.get("evaluator_type") == "tao_ow" and metadata.get("split") != "train":
        raise ValueError(
            f"DATASETS.TRAIN has '{name}', whose videos are for evaluation; to train on a dataset in TAO format, "
            "register it with split='train'"
        )


def _check_annotated(name: str, records: Sequence[dict]) -> None:
    if not any(record.get("annotations") for record in records):
        raise ValueError(f"dataset '{name}' has {len(records)} images and no annotations: it cannot be trained on")
    for record in records:
        for annotation in record.get("annotations", ()):
            box = annotation["bbox"]
            if not all(math.isfinite(number) for number in box):
                raise ValueError(f"dataset '{name}', image {record['file_name']}: box {box} is not finite")


def _kept_categories(name: str, classes: Sequence[str]) -> set[int] | None:
    """Ids of the categories in ``classes``; None for all."""
    if not classes:
        return None
    names = list(MetadataCatalog.get(name).get("thing_classes", []))
    unknown = [wanted for wanted in classes if wanted not in names]
    if unknown:
        raise ValueError(f"DATA.CLASSES has {unknown}, which '{name}' does not have; its classes are {names}")
    return {names.index(wanted) for wanted in classes}


def _class_agnostic(record: dict, kept: set[int] | None) -> dict:
    annotations = [
        {**annotation, "category_id": 0}
        for annotation in record.get("annotations", ())
        if kept is None or annotation["category_id"] in kept
    ]
    return {**record, "annotations": annotations}


def _read_exclusion_list(path: str) -> frozenset[str]:
    if not path:
        return frozenset()
    if not Path(path).is_file():
        raise FileNotFoundError(f"DATA.EXCLUSION_LIST {path}: no such file")
    lines = (line.split("#")[0].strip().strip("/") for line in Path(path).read_text().splitlines())
    return frozenset(line for line in lines if line)


def _refuse_excluded(name: str, records: Sequence[dict], excluded: frozenset[str], path: str) -> None:
    if not excluded:
        return
    found = {entry for record in records for entry in _names_of(record["file_name"]) & excluded}
    if found:
        shown = ", ".join(sorted(found)[:10]) + (", ..." if len(found) > 10 else "")
        raise ValueError(f"dataset '{name}' has {len(found)} names of the exclusion list {path}: {shown}")


def _names_of(file_name: str) -> set[str]:
    """Every name a list may call an image or its video by: runs of folders, with or without the file's ending."""
    names = set()
    for parts in (PurePath(file_name).parts, PurePath(file_name).with_suffix("").parts):
        names |= {"/".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)}
    return names
