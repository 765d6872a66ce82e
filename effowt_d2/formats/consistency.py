"""Contradictions in a dataset: all are found, the first of each kind is reported."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from effowt_d2.utils.box_rules import BOX_RULE, is_sound

from .document import Dataset, DatasetError

__all__ = ["Fault", "check_consistent", "find_faults"]


@dataclass(frozen=True)
class Fault:
    """One kind of contradiction.

    Attributes:
        count: entries that have it.
        message: names the file, the first such entry, its image and the value.
        boxes: it is one of boxes.
    """

    count: int
    message: str
    boxes: bool = False

    def __str__(self) -> str:
        return self.message + (f" ({self.count - 1} more such entries)" if self.count > 1 else "")


def check_consistent(dataset: Dataset, *, labels: bool = True) -> None:
    """Raise DatasetError for the first fault of a dataset, if it has one; see :func:`find_faults`."""
    for fault in find_faults(dataset, labels=labels):
        raise DatasetError(str(fault))


def find_faults(dataset: Dataset, *, labels: bool = True) -> Iterator[Fault]:
    """The contradictions of a dataset, one for each kind.

    Args:
        dataset: completed.
        labels: look at the annotations too.
    """
    yield from _categories(dataset)
    yield from _images(dataset)
    yield from _videos(dataset)
    if labels:
        yield from _annotations(dataset)


class _Kind:
    """Finds the faults of one list."""

    def __init__(self, dataset: Dataset, entries: str, name: Callable[[int], str]):
        self.place = f"{dataset.file}: {entries}"
        self.name = name

    def unless(
        self, good: Sequence[bool] | np.ndarray, message: Callable[[int], str], *, boxes: bool = False
    ) -> Iterator[Fault]:
        bad = np.flatnonzero(~np.asarray(good, dtype=bool))
        if len(bad):
            first = int(bad[0])
            yield Fault(len(bad), f"{self.place} {first}: {self.name(first)}: {message(first)}", boxes)


def _categories(dataset: Dataset) -> Iterator[Fault]:
    categories = dataset.categories
    kind = _Kind(dataset, "categories", lambda i: f"name {categories[i].name!r}")
    yield from kind.unless(_first_use([c.id for c in categories]), lambda i: f"the id {categories[i].id} is used twice")


def _images(dataset: Dataset) -> Iterator[Fault]:
    images = dataset.images
    if not images:
        yield Fault(1, f"{dataset.file}: 'images' is empty")
    kind = _Kind(dataset, "images", lambda i: images[i].title)
    yield from kind.unless(_first_use([i.id for i in images]), lambda i: f"the image id {images[i].id} is used twice")


def _videos(dataset: Dataset) -> Iterator[Fault]:
    videos, images = dataset.videos, dataset.images
    if not dataset.is_video:
        return
    kind = _Kind(dataset, "videos", lambda i: f"name {videos[i].name!r}")
    yield from kind.unless(_first_use([v.id for v in videos]), lambda i: f"the video id {videos[i].id} is used twice")
    names = [str(video.name).replace("/", "-") for video in videos]
    yield from kind.unless(_first_use(names), lambda i: "another video has this name ('/' counts as '-')")
    known = {video.id for video in videos}
    kind = _Kind(dataset, "images", lambda i: images[i].title)
    there = [image.video_id in known for image in images]
    yield from kind.unless(there, lambda i: f"'video_id' {images[i].video_id} is the id of no video")
    places = [(image.video_id, image.frame_index) for image in images]
    yield from kind.unless(
        _first_use(places),
        lambda i: f"another frame of video {images[i].video_id} has the frame_index {images[i].frame_index}",
    )


def _annotations(dataset: Dataset) -> Iterator[Fault]:
    annotations = dataset.annotations
    if not annotations:
        return
    images = {image.id: image for image in dataset.images}
    categories = {category.id for category in dataset.categories}

    def image_name(number: int) -> str:
        image = images.get(annotations[number].image_id)
        return image.title if image else f"image_id {annotations[number].image_id}"

    kind = _Kind(dataset, "annotations", image_name)
    there = [a.image_id in images for a in annotations]
    yield from kind.unless(there, lambda i: f"'image_id' {annotations[i].image_id} is the id of no image")
    named = [a.category_id in categories for a in annotations]
    yield from kind.unless(named, lambda i: f"'category_id' {annotations[i].category_id} is the id of no category")
    boxes = np.array([a.bbox for a in annotations], dtype=np.float64)
    yield from kind.unless(is_sound(boxes), lambda i: f"'bbox' {boxes[i].tolist()}: {BOX_RULE}", boxes=True)
    if dataset.is_video:
        yield from _tracks(dataset, kind, images)


def _tracks(dataset: Dataset, kind: _Kind, images: dict) -> Iterator[Fault]:
    annotations = dataset.annotations
    agree = [a.image_id not in images or a.video_id == images[a.image_id].video_id for a in annotations]
    yield from kind.unless(agree, lambda i: f"'video_id' {annotations[i].video_id} is not the video of its image")
    natural = [(a.track_id or 0) >= 0 for a in annotations]
    yield from kind.unless(natural, lambda i: f"'track_id' must not be negative, got {annotations[i].track_id}")
    once = _first_use([(a.image_id, a.track_id) for a in annotations])
    yield from kind.unless(once, lambda i: f"the image has two labels of the track {annotations[i].track_id}")


def _first_use(values: Sequence[Hashable]) -> list[bool]:
    first = dict(zip(reversed(values), reversed(range(len(values)))))
    return [first[value] == place for place, value in enumerate(values)]
