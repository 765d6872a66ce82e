"""Sequences out of annotated datasets in the plugin's formats: still images, and the tracks of videos."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from effowt_d2.formats import Annotation, Dataset, DatasetError, Image, read_dataset
from effowt_d2.utils.boxes import xywh_to_xyxy

from .sequence import TargetSequence

__all__ = ["read_document"]


def read_document(source: Path, image_root: Path, format: str = "") -> list[TargetSequence]:
    """Read a dataset of any format of :data:`effowt_d2.formats.FORMATS`.

    Every labelled object of a still image, crowds skipped, becomes a sequence of one frame, ``IMAGE-ID``. Every track of a
    video becomes one from its first to its last box, ``VIDEO-TRACK``; between them frames without a box have NaN.

    Args:
        source: annotation file, or folder of MOTChallenge.
        image_root: folder that file names are relative to.
        format: "" detects it.

    Raises:
        FileNotFoundError, DatasetError: as :func:`effowt_d2.formats.read_dataset`, or nothing is labelled.
    """
    dataset = read_dataset(source, image_root, format)
    made = list(_tracks(dataset, image_root) if dataset.is_video else _stills(dataset, image_root))
    if not made:
        raise DatasetError(f"{dataset.file} has no labelled object to follow")
    return made


def _labelled(dataset: Dataset) -> Iterator[Annotation]:
    return (a for a in dataset.annotations if not a.iscrowd and a.bbox is not None and min(a.bbox[2:]) > 0)


def _stills(dataset: Dataset, image_root: Path) -> Iterator[TargetSequence]:
    images = {image.id: image for image in dataset.images}
    for number, annotation in enumerate(_labelled(dataset)):
        image = images[annotation.image_id]
        yield TargetSequence(
            name=f"{Path(image.file_name).stem}-{number if annotation.id is None else annotation.id}",
            files=(str(image_root / image.file_name),),
            boxes=_box(annotation)[None],
            size=_size(image),
            still=True,
        )


def _tracks(dataset: Dataset, image_root: Path) -> Iterator[TargetSequence]:
    frames: dict[int, list[Image]] = {}
    for image in dataset.images:
        frames.setdefault(image.video_id, []).append(image)
    tracks: dict[tuple, dict[int, np.ndarray]] = {}
    for annotation in _labelled(dataset):
        tracks.setdefault((annotation.video_id, annotation.track_id), {})[annotation.image_id] = _box(annotation)
    names = {video.id: video.name or str(video.id) for video in dataset.videos}
    for (video, track), boxes in tracks.items():
        ordered = sorted(frames[video], key=lambda image: image.frame_index)
        seen = [place for place, image in enumerate(ordered) if image.id in boxes]
        part = ordered[seen[0] : seen[-1] + 1]
        yield TargetSequence(
            # the name becomes that of a file
            name=f"{names[video].replace('/', '_')}-{track}",
            files=tuple(str(image_root / image.file_name) for image in part),
            boxes=np.array([boxes.get(image.id, np.full(4, np.nan)) for image in part]),
            size=_size(part[0]),
        )


def _box(annotation: Annotation) -> np.ndarray:
    return xywh_to_xyxy(np.array(annotation.bbox, dtype=np.float64))


def _size(image: Image) -> tuple[int, int] | None:
    return (image.height, image.width) if image.height and image.width else None
