"""A TAO-format ground truth as arrays, checked once."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from msgspec import Struct

from effowt_d2.utils.typed import as_typed_list

from .entries import AnnotationEntry, ImageEntry, ScoredVideoEntry, VideoEntry, box_column, column

__all__ = [
    "Frames",
    "GroundTruth",
    "GroundTruthError",
    "load_frames",
    "load_ground_truth",
    "read_ground_truth_json",
]

Entry = TypeVar("Entry", bound=Struct)

# Class-agnostic results carry category 1, so TrackEval's not-exhaustive test looks for this id
RESULT_CATEGORY = 1


class GroundTruthError(ValueError):
    """A ground truth that cannot be scored against; the message names file, entry and value."""


@dataclass(frozen=True)
class Frames:
    """The V videos and I images of a dataset. Videos and images are named by their position here.

    Attributes:
        file: name for messages.
        video_ids: (V,) ids in file order.
        video_names: V names.
        image_ids: (I,) ids in ascending order.
        image_video: (I,) position of each image's video.
        image_frame: (I,) frame_index.
    """

    file: str
    video_ids: np.ndarray
    video_names: list[str]
    image_ids: np.ndarray
    image_video: np.ndarray
    image_frame: np.ndarray


@dataclass(frozen=True)
class GroundTruth(Frames):
    """Frames with A annotations.

    Attributes:
        drops_unmatched: (V,) bool; True where category 1 is listed as not exhaustively annotated.
        image: (A,) position of each annotation's image.
        track: (A,) track ids.
        category: (A,) category ids as written, before any merging.
        boxes: (A, 4) x, y, width, height in pixels.
        open_world: the file's own groups of categories, or None.
    """

    drops_unmatched: np.ndarray
    image: np.ndarray
    track: np.ndarray
    category: np.ndarray
    boxes: np.ndarray
    open_world: Mapping | None


def read_ground_truth_json(source: str | os.PathLike | Mapping) -> Mapping:
    """The ground truth as the json module returns it, from a path or passed through; errors name the file."""
    if isinstance(source, Mapping):
        return source
    try:
        with open(source, encoding="utf-8") as file:
            data = json.load(file)
    except ValueError as problem:
        raise GroundTruthError(f"{os.fspath(source)}: not a complete JSON file ({problem})") from None
    if not isinstance(data, dict):
        raise GroundTruthError(f"{os.fspath(source)}: expected a JSON object, got a {type(data).__name__}")
    return data


def load_frames(source: str | os.PathLike | Mapping, file: str | None = None) -> Frames:
    """Read and check the videos and images only, which a split without annotations has too.

    Args:
        source: path of a TAO-format JSON file, or its content.
        file: name for messages; by default the path.

    Raises:
        GroundTruthError: missing or contradictory content.
    """
    file = file or _name(source)
    data = read_ground_truth_json(source)
    return Frames(**_frames(data, file))


def load_ground_truth(source: str | os.PathLike | Mapping | GroundTruth, file: str | None = None) -> GroundTruth:
    """Read and check a ground truth.

    Args:
        source: path of a TAO-format JSON file, or its content; a loaded one is passed through.
        file: name for messages; by default the path.

    Raises:
        GroundTruthError: missing or contradictory content.
    """
    if isinstance(source, GroundTruth):
        return source
    file = file or _name(source)
    data = read_ground_truth_json(source)
    frames = _frames(data, file)
    for name in ("tracks", "annotations"):
        if not _list(data, name, file):
            raise GroundTruthError(f"{file}: '{name}' is empty: there is nothing to score against")
    videos = _typed(data, "videos", ScoredVideoEntry, file)
    return GroundTruth(
        **frames,
        **_annotations(_typed(data, "annotations", AnnotationEntry, file), frames),
        drops_unmatched=np.array([RESULT_CATEGORY in v.not_exhaustive_category_ids for v in videos], dtype=bool),
        open_world=data.get("open_world"),
    )


def _name(source: str | os.PathLike | Mapping) -> str:
    return "ground truth" if isinstance(source, Mapping) else os.fspath(source)


def _list(data: Mapping, name: str, file: str) -> list:
    if not isinstance(data.get(name), list):
        there = ", ".join(map(repr, data))
        raise GroundTruthError(f"{file}: the list '{name}' is missing; there are {there}")
    return data[name]


def _typed(data: Mapping, name: str, kind: type[Entry], file: str) -> list[Entry]:
    return as_typed_list(_list(data, name, file), kind, f"{file}: {name}", GroundTruthError)


def _frames(data: Mapping, file: str) -> dict:
    videos, images = _typed(data, "videos", VideoEntry, file), _typed(data, "images", ImageEntry, file)
    check_videos, check_images = (_Checks(file, name) for name in ("videos", "images"))
    video_ids, image_ids = column(videos, "id"), column(images, "id")
    check_videos.unique(video_ids)
    check_images.unique(image_ids)
    order = np.argsort(image_ids)
    return {
        "file": file,
        "video_ids": video_ids,
        "video_names": check_videos.names(videos),
        "image_ids": image_ids[order],
        "image_video": check_images.positions("video_id", column(images, "video_id"), video_ids)[order],
        "image_frame": column(images, "frame_index")[order],
    }


def _annotations(annotations: list[AnnotationEntry], frames: dict) -> dict:
    check = _Checks(frames["file"], "annotations")
    image = check.positions("image_id", column(annotations, "image_id"), frames["image_ids"])
    video = check.positions("video_id", column(annotations, "video_id"), frames["video_ids"])
    track, boxes = column(annotations, "track_id"), box_column(annotations)
    check.all(
        video == frames["image_video"][image], lambda i: f"its image is not in its video {annotations[i].video_id}"
    )
    check.all(track >= 0, lambda i: f"'track_id' must not be negative, got {track[i]}")
    sound = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] >= 0).all(axis=1)
    check.all(sound, lambda i: f"'bbox' must be finite with sizes from 0 on, got {boxes[i].tolist()}")
    order = np.lexsort((track, image))  # stable: of two alike the later one is named
    first = np.ones(len(order), dtype=bool)
    first[order[1:]] = (np.diff(image[order]) != 0) | (np.diff(track[order]) != 0)
    check.all(first, lambda i: f"image {annotations[i].image_id} holds the track id {track[i]} already")
    return {"image": image, "track": track, "category": column(annotations, "category_id"), "boxes": boxes}


@dataclass(frozen=True)
class _Checks:
    """Checks of one list of a file; the first entry that fails is named."""

    file: str
    name: str

    def all(self, good: np.ndarray, message: Callable[[int], str]) -> None:
        if not good.all():
            index = int(np.argmin(good))
            raise GroundTruthError(f"{self.file}: {self.name} {index}: {message(index)}")

    def unique(self, ids: np.ndarray) -> None:
        first = np.zeros(len(ids), dtype=bool)
        first[np.unique(ids, return_index=True)[1]] = True
        self.all(first, lambda i: f"the id {ids[i]} was used before")

    def names(self, videos: list[VideoEntry]) -> list[str]:
        # TrackEval tells videos apart by this form of the name and would score only one of two alike
        names = [video.name.replace("/", "-") for video in videos]
        first = dict(zip(reversed(names), reversed(range(len(names)))))
        alone = np.array([first[name] == i for i, name in enumerate(names)], dtype=bool)
        self.all(alone, lambda i: f"another video has the name {videos[i].name!r} ('/' and '-' are not told apart)")
        return [video.name for video in videos]

    def positions(self, key: str, values: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Position in ``ids`` of the id every entry refers to."""
        order = np.argsort(ids)
        place = np.searchsorted(ids, values, sorter=order)
        found = np.append(order, -1)[place]
        known = (found >= 0) & (np.append(ids, 0)[found] == values)
        self.all(known, lambda i: f"'{key}' {values[i]} is the id of no {key.removesuffix('_id')}")
        return found
