"""Datasets of sequences in Detectron2's catalogs."""

from collections.abc import Callable
from functools import cache

from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.formats import DatasetError

from .sequence import TargetSequence

__all__ = ["frame_records", "load_sequences", "register_sequences"]

_LOADERS: dict[str, Callable[[], list[TargetSequence]]] = {}


def register_sequences(
    name: str,
    load: Callable[[], list[TargetSequence]],
    *,
    rules: str = "default",
    convention: str = "pytracking",
    submission: str = "",
    split: str = "own",
) -> None:
    """Register a dataset; nothing is read before it is used, and then only once in a process.

    Args:
        name: its name in Detectron2's catalogs.
        load: reads it.
        rules: see :data:`sot.evaluation.RULES`.
        convention: that its results are published by, see :data:`sot.evaluation.CONVENTIONS`.
        submission: files that are written for its server, see :data:`sot.evaluation.submissions.WRITERS`; "" for none.
        split: "test" refuses training.
    """
    cached = cache(load)
    DatasetCatalog.register(name, lambda: frame_records(load_sequences(name)))
    _LOADERS[name] = cached
    MetadataCatalog.get(name).set(
        thing_classes=["object"],
        evaluator_type="one_pass",
        rules=rules,
        convention=convention,
        submission=submission,
        split=split,
    )


def load_sequences(name: str) -> list[TargetSequence]:
    """The sequences of a registered dataset.

    Raises:
        ValueError: it is not registered as one of sequences.
        DatasetError, FileNotFoundError: it cannot be read; names the dataset and the sequence.
    """
    if name not in _LOADERS:
        known = ", ".join(sorted(_LOADERS)) or "none"
        raise ValueError(f"dataset '{name}' is not registered as one of single-object sequences; these are: {known}")
    try:
        sequences = _LOADERS[name]()
    except (DatasetError, FileNotFoundError) as error:
        raise type(error)(f"dataset '{name}': {error}") from None
    if not sequences:
        raise DatasetError(f"dataset '{name}' has no sequences")
    return sequences


def frame_records(sequences: list[TargetSequence]) -> list[dict]:
    """Detectron2's records of all frames: ``video_id`` is the place of the sequence, ``frame_index`` that in it.

    The record of a first frame has ``given_boxes``, a list with the box x0, y0, x1, y1 to follow.
    """
    records = []
    for video_id, sequence in enumerate(sequences):
        sides = {} if sequence.size is None else {"height": sequence.size[0], "width": sequence.size[1]}
        start = len(records)
        for index, file in enumerate(sequence.files):
            place = {"image_id": len(records), "video_id": video_id, "frame_index": index}
            records.append({"file_name": file, "sequence": sequence.name, **place, **sides})
        records[start]["given_boxes"] = [sequence.boxes[0].tolist()]
    return records
