"""A ground truth as arrays, from a video dataset in any format that is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from effowt_d2.formats import Dataset, DatasetError, Image, read_dataset

__all__ = ["Frames", "GroundTruth", "GroundTruthError", "load_frames", "load_ground_truth", "read_video_dataset"]

# Class-agnostic results carry category 1, so TrackEval's not-exhaustive test looks for this id
RESULT_CATEGORY = 1

GroundTruthError = DatasetError
"""A ground truth that cannot be scored against; the message names file, entry and value."""

Source = str | os.PathLike | Mapping | Dataset


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
        image_sizes: (I, 2) width and height; 0 if unknown.
        image_names: I file names; "" if unknown.
    """

    file: str
    video_ids: np.ndarray
    video_names: list[str]
    image_ids: np.ndarray
    image_video: np.ndarray
    image_frame: np.ndarray
    image_sizes: np.ndarray
    image_names: list[str]


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
        categories: names of the categories by id.
    """

    drops_unmatched: np.ndarray
    image: np.ndarray
    track: np.ndarray
    category: np.ndarray
    boxes: np.ndarray
    open_world: Mapping | None
    categories: Mapping[int, str] = field(default_factory=dict)


def read_video_dataset(source: Source, file: str | None = None) -> Dataset:
    """A dataset of videos, checked.

    Args:
        source: path or content of a dataset in any format of :func:`effowt_d2.formats.read_dataset`; one that was
            read is passed through.
        file: name for messages; by default the path.

    Raises:
        GroundTruthError: missing or contradictory content, or still images.
    """
    if not isinstance(source, Dataset):
        default = "ground truth" if isinstance(source, Mapping) else os.fspath(source)
        source = read_dataset(source, file=file or default)
    if not source.is_video:
        raise GroundTruthError(
            f"{source.file}: there are no videos (read as {source.format}): tracks are scored in frames with "
            "'video_id' and 'frame_index'"
        )
    return source


def load_frames(source: Source, file: str | None = None) -> Frames:
    """The videos and images only, which a split without annotations has too.

    Args:
        source, file: see :func:`read_video_dataset`.

    Raises:
        GroundTruthError: missing or contradictory content.
    """
    return Frames(**_frames(read_video_dataset(source, file)))


def load_ground_truth(source: Source | GroundTruth, file: str | None = None) -> GroundTruth:
    """A ground truth.

    Args:
        source, file: see :func:`read_video_dataset`; a loaded one is passed through.

    Raises:
        GroundTruthError: missing or contradictory content.
    """
    if isinstance(source, GroundTruth):
        return source
    dataset = read_video_dataset(source, file)
    annotations = dataset.annotations
    if not annotations:
        raise GroundTruthError(f"{dataset.file}: 'annotations' is empty: there is nothing to score against")
    frames = _frames(dataset)
    image_ids = np.array([a.image_id for a in annotations], dtype=np.int64)
    return GroundTruth(
        **frames,
        drops_unmatched=np.array(
            [RESULT_CATEGORY in (v.not_exhaustive_category_ids or ()) for v in dataset.videos], dtype=bool
        ),
        image=np.searchsorted(frames["image_ids"], image_ids),
        track=np.array([a.track_id for a in annotations], dtype=np.int64),
        category=np.array([a.category_id for a in annotations], dtype=np.int64),
        boxes=np.array([a.bbox for a in annotations], dtype=np.float64).reshape(-1, 4),
        open_world=dataset.open_world,
        categories=dataset.category_names,
    )


def _frames(dataset: Dataset) -> dict:
    place: dict[int | None, int] = {video.id: position for position, video in enumerate(dataset.videos)}
    images: list[Image] = sorted(dataset.images, key=lambda image: image.id)
    return {
        "file": dataset.file,
        "video_ids": np.array([video.id for video in dataset.videos], dtype=np.int64),
        "video_names": [video.name for video in dataset.videos],
        "image_ids": np.array([image.id for image in images], dtype=np.int64),
        "image_video": np.array([place[image.video_id] for image in images], dtype=np.int64),
        "image_frame": np.array([image.frame_index for image in images], dtype=np.int64),
        "image_sizes": np.array([(i.width or 0, i.height or 0) for i in images], dtype=np.int64).reshape(-1, 2),
        "image_names": [image.file_name for image in images],
    }
