"""COCO, TAO and COCO-VID: one JSON object with lists of images, annotations, categories and maybe videos."""

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from effowt_d2.utils.typed import as_typed, shortened

from .document import Annotation, Category, Dataset, DatasetError, Id, Image, Video

__all__ = ["as_entries", "categories_of", "open_world_groups", "read_coco", "read_coco_vid", "read_tao"]

Entry = TypeVar("Entry", bound=Struct)


class _Image(Image, gc=False):
    frame_id: Id | None = None
    video: str | None = None


class _Category(Category):
    merged: list[Category] = []


class _Annotation(Annotation, gc=False):
    instance_id: Id | None = None


def read_coco(document: Mapping, file: str) -> Dataset:
    """Still images in COCO's layout.

    Raises:
        DatasetError: a list or a field is missing or of the wrong type.
    """
    return _read(document, file, "coco", is_video=False)


def read_tao(document: Mapping, file: str) -> Dataset:
    """Videos in TAO's layout: images have ``video_id`` and ``frame_index``, annotations a ``track_id``.

    Raises:
        DatasetError: as :func:`read_coco`.
    """
    return _read(document, file, "tao", is_video=True)


def read_coco_vid(document: Mapping, file: str) -> Dataset:
    """Videos as MMTracking and the demo write them: ``frame_id`` and ``instance_id`` in place of TAO's names.

    Raises:
        DatasetError: as :func:`read_coco`.
    """
    return _read(document, file, "coco_vid", is_video=True)


def _read(document: Mapping, file: str, kind: str, *, is_video: bool) -> Dataset:
    images = as_entries(document, "images", _Image, file)
    annotated = document.get("annotations") is not None
    annotations = as_entries(document, "annotations", _Annotation, file) if annotated else []
    filled: Counter = Counter()
    videos: list[Video] = []
    if is_video:
        videos = _videos(document, images, file, filled)
        _frames_and_tracks(images, annotations, file)
        if annotated and "tracks" not in document:
            filled["tracks"] = len({(a.video_id, a.track_id) for a in annotations})
    return Dataset(
        file=file,
        format=kind,
        images=images,
        annotations=annotations,
        videos=videos,
        categories=categories_of(document, file),
        open_world=open_world_groups(document, file),
        annotated=annotated,
        filled=filled,
    )


def as_entries(document: Mapping, name: str, kind: type[Entry], file: str) -> list[Entry]:
    """A list of the document as typed entries.

    Raises:
        DatasetError: there is no such list, or an entry does not fit; the entry, its image and the value are named.
    """
    entries = document.get(name)
    if not isinstance(entries, list):
        there = ", ".join(f"{key} ({type(value).__name__})" for key, value in document.items())
        raise DatasetError(f"{file}: the list '{name}' is missing; there are {there or 'no fields'}")
    try:
        return msgspec.convert(entries, list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError:
        # one by one, to find out which
        return [as_typed(entry, kind, _place(file, name, i, entry), DatasetError) for i, entry in enumerate(entries)]


def _place(file: str, name: str, number: int, entry: object) -> str:
    place = f"{file}: {name} {number}"
    for key in ("file_name", "image_id", "seq_name", "name"):
        if isinstance(entry, Mapping) and key in entry:
            return f"{place}: {key} {shortened(entry[key])}"
    return place


def categories_of(document: Mapping, file: str) -> list[Category]:
    """The document's categories; those that TAO merged into others keep their ids. Empty where it lists none.

    Raises:
        DatasetError: as :func:`as_entries`.
    """
    listed = as_entries(document, "categories", _Category, file) if document.get("categories") else []
    ids = {category.id for category in listed}
    merged = {part.id: part for category in listed for part in category.merged if part.id not in ids}
    return [*(Category(id=category.id, name=category.name) for category in listed), *merged.values()]


def open_world_groups(document: Mapping, file: str) -> Mapping | None:
    """The document's field ``open_world``, if it has one.

    Raises:
        DatasetError: it is no mapping.
    """
    groups = document.get("open_world")
    if groups is not None and not isinstance(groups, Mapping):
        raise DatasetError(f"{file}: open_world must be an object of groups of categories, got {shortened(groups)}")
    return groups


def _videos(document: Mapping, images: list[_Image], file: str, filled: Counter) -> list[Video]:
    if "videos" in document:
        return as_entries(document, "videos", Video, file)
    names = {image.video_id: image.video for image in images}
    filled["videos"] = len(names)
    return [Video(id=number, name=name) for number, name in names.items() if number is not None]


def _frames_and_tracks(images: list[_Image], annotations: list[_Annotation], file: str) -> None:
    for number, image in enumerate(images):
        if image.frame_index is None:
            image.frame_index = image.frame_id
        image.frame_id = None
        for key in ("video_id", "frame_index"):
            if getattr(image, key) is None:
                raise DatasetError(
                    f"{file}: images {number}: {image.title}: the field '{key}' is missing, which every frame of "
                    "a video has; a dataset of still images is read as coco"
                )
    for number, annotation in enumerate(annotations):
        if annotation.track_id is None:
            annotation.track_id = annotation.instance_id
        annotation.instance_id = None
        if annotation.track_id is None:
            raise DatasetError(
                f"{file}: annotations {number}: image_id {annotation.image_id}: 'track_id' (in COCO-VID also "
                "'instance_id') is missing, which every label of a video has"
            )
