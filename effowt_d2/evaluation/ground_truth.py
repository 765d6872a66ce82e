"""A TAO-format ground truth as arrays, checked once."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .entries import EntryList

__all__ = [
    "Frames",
    "GroundTruth",
    "GroundTruthError",
    "load_frames",
    "load_ground_truth",
    "read_ground_truth_json",
]

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
        if not _entries(data, name, file).entries:
            raise GroundTruthError(f"{file}: '{name}' is empty: there is nothing to score against")
    return GroundTruth(
        **frames,
        **_annotations(_entries(data, "annotations", file), frames),
        drops_unmatched=_drops_unmatched(_entries(data, "videos", file)),
        open_world=data.get("open_world"),
    )


def _name(source: str | os.PathLike | Mapping) -> str:
    return "ground truth" if isinstance(source, Mapping) else os.fspath(source)


def _frames(data: Mapping, file: str) -> dict:
    videos, images = _entries(data, "videos", file), _entries(data, "images", file)
    video_ids, image_ids = _unique_ids(videos), _unique_ids(images)
    order = np.argsort(image_ids)
    return {
        "file": file,
        "video_ids": video_ids,
        "video_names": _video_names(videos),
        "image_ids": image_ids[order],
        "image_video": _positions(images, "video_id", video_ids, "video")[order],
        "image_frame": images.integers("frame_index")[order],
    }


def _entries(data: Mapping, name: str, file: str) -> EntryList:
    if not isinstance(data.get(name), list):
        there = ", ".join(map(repr, data))
        raise GroundTruthError(f"{file}: the list '{name}' is missing; there are {there}")
    return EntryList(data[name], file, GroundTruthError, label=name)


def _unique_ids(entries: EntryList) -> np.ndarray:
    ids = entries.integers("id")
    values, first = np.unique(ids, return_index=True)
    if len(values) != len(ids):
        repeated = np.setdiff1d(np.arange(len(ids)), first)[0]
        entries.fail(repeated, f"the id {ids[repeated]} was used before")
    return ids


def _video_names(videos: EntryList) -> list[str]:
    names, seen = videos.values("name"), set()
    for index, name in enumerate(names):
        if not isinstance(name, str):
            videos.fail(index, f"'name' must be a string, got {name!r}")
        # TrackEval tells videos apart by this form of the name and would score only one of two alike
        if name.replace("/", "-") in seen:
            videos.fail(index, f"another video has the name {name!r} ('/' and '-' are not told apart)")
        seen.add(name.replace("/", "-"))
    return names


def _drops_unmatched(videos: EntryList) -> np.ndarray:
    for key in ("not_exhaustive_category_ids", "neg_category_ids"):
        for index, ids in enumerate(videos.values(key)):
            if not isinstance(ids, list):
                videos.fail(index, f"'{key}' must be a list of category ids, got {ids!r}")
    not_exhaustive = videos.values("not_exhaustive_category_ids")
    return np.array([RESULT_CATEGORY in ids for ids in not_exhaustive], dtype=bool)


def _annotations(annotations: EntryList, frames: dict) -> dict:
    image = _positions(annotations, "image_id", frames["image_ids"], "image")
    videos = _positions(annotations, "video_id", frames["video_ids"], "video")
    track, boxes = annotations.integers("track_id"), annotations.boxes()
    wrong = np.flatnonzero(videos != frames["image_video"][image])
    if len(wrong):
        video_id = annotations.entries[wrong[0]]["video_id"]
        annotations.fail(wrong[0], f"its image is not in its video {video_id}")
    wrong = np.flatnonzero(track < 0)
    if len(wrong):
        annotations.fail(wrong[0], f"'track_id' must not be negative, got {track[wrong[0]]}")
    wrong = np.flatnonzero(~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < 0).any(axis=1))
    if len(wrong):
        box = boxes[wrong[0]].tolist()
        annotations.fail(wrong[0], f"'bbox' must be finite with sizes from 0 on, got {box}")
    order = np.lexsort((track, image))  # stable: of two alike the later one is named
    wrong = order[1:][(np.diff(image[order]) == 0) & (np.diff(track[order]) == 0)]
    if len(wrong):
        entry = annotations.entries[wrong[0]]
        taken = f"image {entry['image_id']} holds the track id {entry['track_id']} already"
        annotations.fail(wrong[0], taken)
    return {"image": image, "track": track, "category": annotations.integers("category_id"), "boxes": boxes}


def _positions(entries: EntryList, key: str, ids: np.ndarray, what: str) -> np.ndarray:
    """Position in ``ids`` of the id every entry refers to."""
    values = entries.integers(key)
    order = np.argsort(ids)
    place = np.searchsorted(ids, values, sorter=order)
    found = np.append(order, -1)[place]
    wrong = np.flatnonzero((found < 0) | (np.append(ids, 0)[found] != values))
    if len(wrong):
        entries.fail(wrong[0], f"'{key}' {values[wrong[0]]} is the id of no {what}")
    return found
