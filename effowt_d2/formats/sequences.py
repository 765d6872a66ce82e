"""YouTube-VIS and BURST: one JSON object with a list of videos, whose masks become boxes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from .document import Annotation, Box, Dataset, DatasetError, Flag, Id, Image, Side, Video
from .lists import as_entries, categories_of, open_world_groups
from .masks import box_of_mask

__all__ = ["read_burst", "read_youtube_vis"]


class _VisVideo(Struct, kw_only=True):
    id: Id
    width: Side
    height: Side
    file_names: list[str]
    name: str | None = None


class _VisTrack(Struct, kw_only=True):
    video_id: Id
    category_id: Id
    id: Id
    segmentations: list[Any] | None = None
    bboxes: list[Box | None] | None = None
    iscrowd: Flag = 0


class _Sequence(Struct, kw_only=True):
    width: Side
    height: Side
    seq_name: str
    annotated_image_paths: list[str]
    id: Id | None = None
    dataset: str = ""
    fps: float | None = None
    all_image_paths: list[str] = []
    segmentations: list[dict[str, dict[str, Any]]] | None = None
    track_category_ids: dict[str, Id] = {}
    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] | None = None


def read_youtube_vis(document: Mapping, file: str) -> Dataset:
    """Videos with ``file_names``; an annotation is a track with a mask or box, or null, per frame.

    Boxes are the file's ``bboxes`` where it has them, else those around the masks. Image ids count from 1.

    Raises:
        DatasetError: a list or a field is missing or of the wrong type, or a track is not as long as its video.
    """
    videos = as_entries(document, "videos", _VisVideo, file)
    images: list[Image] = []
    first = {}
    for video in videos:
        first[video.id] = len(images) + 1, len(video.file_names)
        images += [
            Image(
                id=len(images) + 1 + index,
                file_name=name,
                width=video.width,
                height=video.height,
                video_id=video.id,
                frame_index=index,
            )
            for index, name in enumerate(video.file_names)
        ]
    annotated = document.get("annotations") is not None
    tracks = as_entries(document, "annotations", _VisTrack, file) if annotated else []
    filled: Counter = Counter()
    return Dataset(
        file=file,
        format="youtube_vis",
        images=images,
        annotations=[label for track in tracks for label in _vis_labels(track, first, file, filled)],
        videos=[Video(id=v.id, name=v.name or _folder(v.file_names), width=v.width, height=v.height) for v in videos],
        categories=categories_of(document, file),
        open_world=open_world_groups(document, file),
        annotated=annotated,
        filled=filled,
    )


def _folder(names: list[str]) -> str | None:
    return Path(names[0]).parent.as_posix() if names and "/" in names[0] else None


def _vis_labels(track: _VisTrack, first: Mapping, file: str, filled: Counter) -> Iterator[Annotation]:
    where = f"{file}: annotation {track.id}: video_id {track.video_id}"
    if track.video_id not in first:
        raise DatasetError(f"{where}: 'video_id' {track.video_id} is the id of no video")
    image_id, length = first[track.video_id]
    boxes, masks = track.bboxes, track.segmentations
    for name, values in (("bboxes", boxes), ("segmentations", masks)):
        if values is not None and len(values) != length:
            raise DatasetError(f"{where}: '{name}' has {len(values)} entries, its video {length} frames")
    if boxes is None and masks is None:
        raise DatasetError(f"{where}: the fields 'bboxes' and 'segmentations' are both missing")
    for index in range(length):
        box = boxes[index] if boxes else None
        if box is None and masks and masks[index]:
            box = _box(masks[index], f"{where}: frame {index}")
            filled["annotations.bbox"] += box is not None
        if box is not None:
            yield Annotation(
                image_id=image_id + index,
                category_id=track.category_id,
                bbox=box,
                iscrowd=track.iscrowd,
                video_id=track.video_id,
                track_id=track.id,
            )


def read_burst(document: Mapping, file: str) -> Dataset:
    """Sequences with one object per annotated frame, from track id to mask; boxes are those around the masks.

    An image is ``DATASET/SEQ_NAME/NAME`` below the image folder. Ids of images count from 1, those of sequences too
    where the file has none; ``frame_index`` is the place in ``all_image_paths``.

    Raises:
        DatasetError: a list or a field is missing or of the wrong type, or a track has no category.
    """
    sequences = as_entries(document, "sequences", _Sequence, file)
    images: list[Image] = []
    annotations: list[Annotation] = []
    videos: list[Video] = []
    filled: Counter = Counter()
    for number, sequence in enumerate(sequences, 1):
        video = _burst_video(sequence, number)
        labels = list(_burst_labels(sequence, video, len(images) + 1, file))
        filled["annotations.bbox"] += len(labels)
        annotations += labels
        images += _burst_images(sequence, video, len(images) + 1)
        videos.append(video)
    return Dataset(
        file=file,
        format="burst",
        images=images,
        annotations=annotations,
        videos=videos,
        categories=categories_of(document, file),
        open_world=open_world_groups(document, file),
        annotated=any(sequence.segmentations is not None for sequence in sequences),
        filled=filled,
    )


def _burst_video(sequence: _Sequence, number: int) -> Video:
    return Video(
        id=number if sequence.id is None else sequence.id,
        name="/".join(filter(None, (sequence.dataset, sequence.seq_name))),
        width=sequence.width,
        height=sequence.height,
        fps=sequence.fps or None,
        neg_category_ids=sequence.neg_category_ids,
        not_exhaustive_category_ids=sequence.not_exhaustive_category_ids,
    )


def _burst_images(sequence: _Sequence, video: Video, first: int) -> Iterator[Image]:
    places = {name: index for index, name in enumerate(sequence.all_image_paths)}
    for index, name in enumerate(sequence.annotated_image_paths):
        yield Image(
            id=first + index,
            file_name=f"{video.name}/{name}",
            width=sequence.width,
            height=sequence.height,
            video_id=video.id,
            frame_index=places.get(name, index),
        )


def _burst_labels(sequence: _Sequence, video: Video, first: int, file: str) -> Iterator[Annotation]:
    where = f"{file}: sequence '{video.name}'"
    frames, length = sequence.segmentations or [], len(sequence.annotated_image_paths)
    if sequence.segmentations is not None and len(frames) != length:
        raise DatasetError(f"{where}: 'segmentations' has {len(frames)} entries, 'annotated_image_paths' {length}")
    for index, masks in enumerate(frames):
        for track, mask in masks.items():
            if not track.isdecimal() or track not in sequence.track_category_ids:
                known = ", ".join(sequence.track_category_ids) or "none"
                raise DatasetError(f"{where}: frame {index}: track {track!r} is not in 'track_category_ids' ({known})")
            runs = {"size": [sequence.height, sequence.width], "counts": mask.get("rle")}
            box = _box(runs, f"{where}: frame {index}, track {track}")
            if box is not None:
                yield Annotation(
                    image_id=first + index,
                    category_id=sequence.track_category_ids[track],
                    bbox=box,
                    video_id=video.id,
                    track_id=int(track),
                )


def _box(segmentation: Any, where: str) -> tuple | None:
    try:
        box = box_of_mask(segmentation)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from None
    return None if box is None else tuple(box)
