"""Training labels of a dataset, with counts of known, rejected and dropped ones."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import BoxMode
from tabulate import tabulate

from effowt_d2.evaluation.groups import CategoryGroups, choose_groups
from effowt_d2.evaluation.sanity import layout_warning
from effowt_d2.formats import DatasetError
from effowt_d2.utils.box_rules import BOX_RULE, exceeds_image, is_sound, without_pixels

from .datasets.records import DatasetRecords

__all__ = ["LabelCounts", "categories_of", "configured_groups", "format_counts", "training_labels"]

logger = logging.getLogger(__name__)

_MODES = (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)


@dataclass(frozen=True)
class LabelCounts:
    """Counts of the labels of a dataset.

    Attributes:
        dataset: its name.
        images, labels: how many there are.
        other: labels of categories that are not trained on.
        crowd: labels of crowds, which are never trained on.
        dropped: labels without a pixel in their image: a side is 0, or the box lies outside.
        clipped: labels cut to the image's edges, by more than a pixel.
        trained: labels left to train on.
        objects: tracks among these; None for still images.
    """

    dataset: str
    images: int
    labels: int
    other: int
    crowd: int
    dropped: int
    clipped: int
    trained: int
    objects: int | None


def format_counts(counts: Sequence[LabelCounts]) -> str:
    """A table with a row per dataset."""
    headers = ["dataset", "images", "labels", "other classes", "crowd", "dropped", "clipped", "trained on", "objects"]
    rows = [
        [c.dataset, c.images, c.labels, c.other, c.crowd, c.dropped, c.clipped, c.trained, c.objects] for c in counts
    ]
    return tabulate(rows, headers=headers, missingval="-", tablefmt="pipe")


def configured_groups(cfg: CfgNode) -> dict | None:
    """The groups that ``DATA.CLASSES`` and ``DATA.DISTRACTORS`` define for training and scoring; None without.

    Raises:
        ValueError: there are distractors and no known classes.
    """
    if not cfg.DATA.CLASSES:
        if cfg.DATA.DISTRACTORS:
            raise ValueError(f"DATA.DISTRACTORS is {cfg.DATA.DISTRACTORS}, but DATA.CLASSES names no known classes")
        return None
    return {"known": list(cfg.DATA.CLASSES), "distractor": list(cfg.DATA.DISTRACTORS)}


def categories_of(name: str, records: Sequence[dict]) -> dict[int, str]:
    """Names of a dataset's categories by the ids of its file, or by their places where there are no such ids."""
    if isinstance(records, DatasetRecords):
        return dict(records.categories)
    metadata = MetadataCatalog.get(name)
    ids = {place: number for number, place in metadata.get("thing_dataset_id_to_contiguous_id", {}).items()}
    return {ids.get(place, place): label for place, label in enumerate(metadata.get("thing_classes", []))}


def training_labels(
    name: str, records: Sequence[dict], groups: Mapping | CategoryGroups | None
) -> tuple[list[dict], LabelCounts]:
    """A dataset's records with the labels to train on, every category as 0 ("object").

    Args:
        name: in Detectron2's catalogs.
        records: its records.
        groups: known categories given for all training datasets; None: those of the metadata or of the file. Where
            nothing defines them, all labels are trained on.

    Returns:
        New records, and the counts.

    Raises:
        DatasetError: two images have an id, or a box is malformed; the dataset, the image and the value are named.
        ValueError: the metadata's or the file's groups are wrong.
    """
    _check_images(name, records)
    labels = [(record, label) for record in records for label in record.get("annotations", ())]
    boxes = _boxes(name, labels)
    sizes = np.array([(r.get("width") or 0, r.get("height") or 0) for r, _ in labels], dtype=np.float64).reshape(-1, 2)
    problem = layout_warning(boxes, sizes)
    if problem:
        logger.warning("dataset '%s': %s", name, problem)
    known = _known(name, records, [label for _, label in labels], groups)
    crowd = np.array([bool(label.get("iscrowd", 0)) for _, label in labels], dtype=bool)
    dropped = without_pixels(boxes, sizes)
    kept = known & (crowd | ~dropped)
    trained = kept & ~crowd
    counts = LabelCounts(
        dataset=name,
        images=len(records),
        labels=len(labels),
        other=int((~known).sum()),
        crowd=int((known & crowd).sum()),
        dropped=int((known & ~crowd & dropped).sum()),
        clipped=int((trained & exceeds_image(boxes, sizes)).sum()),
        trained=int(trained.sum()),
        objects=_objects(labels, trained),
    )
    flags = iter(kept.tolist())
    return [
        {**r, "annotations": [{**label, "category_id": 0} for label in r.get("annotations", ()) if next(flags)]}
        for r in records
    ], counts


def _check_images(name: str, records: Sequence[dict]) -> None:
    seen: dict = {}
    for record in records:
        number = record.get("image_id")
        if number is not None and number in seen:
            raise DatasetError(
                f"dataset '{name}': images {seen[number]} and {record['file_name']} have the same id {number!r}"
            )
        seen[number] = record["file_name"]


def _boxes(name: str, labels: Sequence[tuple[dict, dict]]) -> np.ndarray:
    """(N, 4) boxes as x, y, width, height."""
    for record, label in labels:
        box, mode = label.get("bbox"), label.get("bbox_mode")
        if not _is_box(box) or mode not in _MODES:
            raise DatasetError(
                f"dataset '{name}', image {record['file_name']}: a label has the box {box!r} and the bbox_mode {mode!r}; "
                f"expected 4 numbers and one of {', '.join(known.name for known in _MODES)}"
            )
    boxes = np.array([label["bbox"] for _, label in labels], dtype=np.float64).reshape(-1, 4)
    corners = np.array([label["bbox_mode"] == BoxMode.XYXY_ABS for _, label in labels], dtype=bool)
    boxes[corners, 2:] -= boxes[corners, :2]
    refused = np.flatnonzero(~is_sound(boxes))
    if len(refused):
        record, label = labels[refused[0]]
        more = f" ({len(refused) - 1} more such labels)" if len(refused) > 1 else ""
        raise DatasetError(
            f"dataset '{name}', image {record['file_name']}: box {list(label['bbox'])}: {BOX_RULE}{more}"
        )
    return boxes


def _is_box(box: object) -> bool:
    numbers = isinstance(box, (list, tuple, np.ndarray)) and len(box) == 4
    return numbers and all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in box)


def _known(name: str, records: Sequence[dict], labels: Sequence[dict], groups) -> np.ndarray:
    """(N,) bool: labels of the categories that are trained on."""
    categories = categories_of(name, records)
    own = isinstance(records, DatasetRecords)
    metadata = MetadataCatalog.get(name)
    chosen = choose_groups(
        groups if groups is not None else metadata.get("open_world_groups", None),
        records.open_world if own else None,
        f"dataset '{name}'",
        categories,
        partial=groups is not None,
        tao_lists=own and records.is_video,
    )
    if chosen is None:
        return np.ones(len(labels), dtype=bool)
    places = metadata.get("thing_dataset_id_to_contiguous_id", {})
    ids = {place: number for number, place in places.items()}
    numbers = [a["dataset_category_id"] if own else ids.get(a["category_id"], a["category_id"]) for a in labels]
    return chosen.members("known", np.array(numbers, dtype=np.int64))


def _objects(labels: Sequence[tuple[dict, dict]], trained: np.ndarray) -> int | None:
    tracks = {(r["video_id"], a.get("track_id")) for (r, a), t in zip(labels, trained) if t and "video_id" in r}
    return len(tracks) if any("video_id" in record for record, _ in labels) else None
