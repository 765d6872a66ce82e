"""Training records: known classes only, class-agnostic, without test videos."""

import difflib
import logging
from collections.abc import Mapping, Sequence

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.evaluation.groups import find_categories
from effowt_d2.formats import DatasetError
from effowt_d2.utils.main_process import on_main_process

from .exclusion import ExclusionList
from .image_files import check_readable, existing_records
from .labels import categories_of, configured_groups, format_counts, training_labels

__all__ = ["load_training_records"]

logger = logging.getLogger(__name__)


def load_training_records(cfg: CfgNode) -> list[dict]:
    """Load ``DATASETS.TRAIN``: every category becomes 0 ("object"), whatever the dataset.

    Labels of categories outside ``DATA.CLASSES``, else outside the known ones of a dataset's own groups, are dropped,
    as if they were not annotated; images that have no label left are dropped under
    ``DATALOADER.FILTER_EMPTY_ANNOTATIONS``. A table of what became of the labels is logged. All processes call this
    together.

    Returns:
        Records with ``annotations``.

    Raises:
        ValueError: no dataset is named, one has no annotations or may not be trained on, a class or a listed
            name is wrong, or a box is malformed.
        FileNotFoundError: image files are missing, and ``DATA.SKIP_MISSING`` doesn't leave them out.
        ImageReadError: one of a sample of the images cannot be used.
        KeyError: a dataset is not registered.
    """
    names = cfg.DATASETS.TRAIN
    if not names:
        raise ValueError("DATASETS.TRAIN is empty: it must name the datasets to train on")
    _check_incomplete(cfg)
    excluded = ExclusionList(cfg.DATA.EXCLUSION_LIST)
    groups = configured_groups(cfg)
    loaded = {}
    for name in names:
        _refuse_evaluation_data(name)
        loaded[name] = DatasetCatalog.get(name)
        _check_annotated(name, loaded[name])
        excluded.check(name, loaded[name])
    if groups is not None:
        _check_classes(groups, loaded)
    records, counts = [], []
    for name, found in loaded.items():
        labelled, count = training_labels(name, found, groups)
        if name in cfg.DATA.INCOMPLETE:
            labelled = [{**record, "complete": False} for record in labelled]
        existing = existing_records(name, labelled, skip=cfg.DATA.SKIP_MISSING)
        on_main_process(lambda records=existing: check_readable(records, cfg.INPUT.FORMAT))
        records += existing
        counts.append(count)
    logger.info("labels of the training datasets:\n%s", format_counts(counts))
    return _with_labels(records, cfg)


def _with_labels(records: list[dict], cfg: CfgNode) -> list[dict]:
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        before = len(records)
        records = [record for record in records if any(not a.get("iscrowd", 0) for a in record["annotations"])]
        logger.info("%d of %d training images have labels", len(records), before)
    if not records:
        wanted = f" of DATA.CLASSES {list(cfg.DATA.CLASSES)}" if cfg.DATA.CLASSES else " of a known class"
        raise ValueError(f"{', '.join(cfg.DATASETS.TRAIN)}: no image has a label{wanted}")
    return records


def _check_incomplete(cfg: CfgNode) -> None:
    unknown = [name for name in cfg.DATA.INCOMPLETE if name not in cfg.DATASETS.TRAIN]
    if unknown:
        raise ValueError(
            f"DATA.INCOMPLETE has {unknown}, which DATASETS.TRAIN lacks; it has {list(cfg.DATASETS.TRAIN)}"
        )
    if cfg.DATA.INCOMPLETE and len(set(cfg.DATASETS.TRAIN)) == len(set(cfg.DATA.INCOMPLETE)):
        raise ValueError(
            f"DATA.INCOMPLETE has all of DATASETS.TRAIN, {list(cfg.DATASETS.TRAIN)}: no dataset is left to learn from what "
            "background is"
        )


def _refuse_evaluation_data(name: str) -> None:
    metadata = MetadataCatalog.get(name)
    if metadata.get("evaluator_type") == "tao_ow" and metadata.get("split") not in ("train", "own"):
        raise ValueError(
            f"DATASETS.TRAIN has '{name}', whose videos are for evaluation; to train on a dataset in TAO format, "
            "register it with split='train', or by DATA.REGISTER"
        )


def _check_annotated(name: str, records: Sequence[dict]) -> None:
    if not any(record.get("annotations") for record in records):
        raise DatasetError(f"dataset '{name}' has {len(records)} images and no annotations: it cannot be trained on")


def _check_classes(groups: Mapping, loaded: Mapping[str, Sequence[dict]]) -> None:
    """Every class must be in one of the datasets at least; which are not in all of them is logged."""
    tables = {name: categories_of(name, records) for name, records in loaded.items()}
    for key, wanted in (("DATA.CLASSES", groups["known"]), ("DATA.DISTRACTORS", groups["distractor"])):
        missing = {name: _missing(wanted, table, key) for name, table in tables.items()}
        nowhere = [value for value in wanted if all(value in lacking for lacking in missing.values())]
        if nowhere and key == "DATA.CLASSES":
            names = sorted({label for table in tables.values() for label in table.values()})
            similar = difflib.get_close_matches(str(nowhere[0]), names, n=8, cutoff=0)
            raise ValueError(
                f"{key} has {nowhere}, which none of {', '.join(tables)} has; of {len(names)} classes the most similar "
                f"are {', '.join(similar) or 'none'}"
            )
        for name, lacking in missing.items():
            if lacking:
                logger.info("dataset '%s' has no category %s (%s)", name, ", ".join(map(repr, lacking)), key)


def _missing(wanted: Sequence[int | str], table: Mapping[int, str], key: str) -> list[int | str]:
    unnamed = find_categories(wanted, table, key)[1]
    return unnamed + [value for value in wanted if not isinstance(value, str) and value not in table]
