"""The ground truth of the one video that is tracked, and which of its images each frame is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from effowt_d2.evaluation.ground_truth import GroundTruthError, load_ground_truth, read_video_dataset
from effowt_d2.evaluation.groups import choose_groups
from effowt_d2.utils.boxes import xyxy_to_xywh
from effowt_d2.video import FrameTracks

__all__ = ["SeenFrame", "VideoTruth"]

Source = str | os.PathLike | Sequence[str | os.PathLike] | None


@dataclass(frozen=True)
class SeenFrame:
    """The tracks of a frame that the ground truth has an image of.

    Attributes:
        position: of the frame in the run.
        time: seconds.
        image_id: of the ground truth.
        scale: pixels of the ground truth's image per pixel of the frame, (x, y).
        size: width and height of the frame.
        boxes: (N, 4) x, y, width, height in pixels of the ground truth's image.
        ids, scores: (N,).
    """

    position: int
    time: float
    image_id: int
    scale: tuple[float, float]
    size: tuple[int, int]
    boxes: np.ndarray
    ids: np.ndarray
    scores: np.ndarray


class VideoTruth:
    """Collects the frames of a run that a ground truth has images of.

    Image files are found by their names, frames of a video, and files named otherwise, by ``frame_index``.

    Args:
        file: the ground truth.
        source: where the frames come from; names the video where there are several.

    Attributes:
        name: name of the video.

    Raises:
        GroundTruthError: the file is no ground truth, or does not identify the video.
        ValueError: its "open_world" groups are not right.
        OSError: it can't be read.
    """

    def __init__(self, file: str | os.PathLike, source: Source = None) -> None:
        self.file = os.fspath(file)
        dataset = read_video_dataset(file)
        gt = load_ground_truth(dataset)
        if gt.open_world is not None:
            choose_groups(None, gt.open_world, self.file, gt.categories)
        data = dataset.content()
        video = _choose_video(data["videos"], source, self.file)
        self.name: str = video["name"]
        # the rest of a large file is let go
        self._data = {name: data[name] for name in ("categories", "open_world") if name in data}
        self._data.update(videos=[video])
        for name in ("images", "annotations", "tracks"):
            self._data[name] = [entry for entry in data[name] if entry["video_id"] == video["id"]]
        self._by_index = {image["frame_index"]: image for image in self._data["images"]}
        stems = [PurePosixPath(image.get("file_name", "")).stem for image in self._data["images"]]
        self._by_name = dict(zip(stems, self._data["images"])) if len(set(stems)) == len(stems) else {}
        self._named: dict[int, SeenFrame] = {}
        self._counted: dict[int, SeenFrame] = {}

    def add(self, position: int, tracks: FrameTracks) -> None:
        """Take in a frame."""
        for images, key, seen in (
            (self._by_name, tracks.name, self._named),
            (self._by_index, tracks.index, self._counted),
        ):
            if key in images:
                seen[images[key]["id"]] = _seen(position, tracks, images[key])

    @property
    def matched_by(self) -> str:
        """Field by which frames are matched: "name" or "frame_index"."""
        return "name" if self._named else "frame_index"

    def seen(self) -> list[SeenFrame]:
        """The frames found in the ground truth, in the order of the run."""
        return list((self._named or self._counted).values())

    def total(self) -> int:
        """Images of the video."""
        return len(self._data["images"])

    def part(self) -> dict:
        """The ground truth of the frames seen alone, TAO-format."""
        ids = {frame.image_id for frame in self.seen()}
        annotations = [entry for entry in self._data["annotations"] if entry["image_id"] in ids]
        tracks = {entry["track_id"] for entry in annotations}
        return dict(
            self._data,
            annotations=annotations,
            images=[image for image in self._data["images"] if image["id"] in ids],
            tracks=[track for track in self._data["tracks"] if track["id"] in tracks],
        )


def _seen(position: int, tracks: FrameTracks, image: dict) -> SeenFrame:
    height, width = tracks.image.shape[:2]
    # the video may have been made smaller than the images that were annotated
    scale = (image.get("width", width) / width, image.get("height", height) / height)
    return SeenFrame(
        position,
        tracks.time,
        image["id"],
        scale,
        (width, height),
        xyxy_to_xywh(tracks.boxes).astype(np.float64) * (scale * 2),
        tracks.ids.astype(np.int64),
        tracks.scores.astype(np.float64),
    )


def _choose_video(videos: list[dict], source: Source, file: str) -> dict:
    """The only video, or the one whose name is the most of a source's path."""
    if len(videos) == 1:
        return videos[0]
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source or [])
    likeness = [max((_path_similarity(video["name"], path) for path in sources), default=0) for video in videos]
    best = [video for video, number in zip(videos, likeness) if number == max(likeness) > 0]
    if len(best) == 1:
        return best[0]
    names = [video["name"] for video in best or videos]
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise GroundTruthError(
        f"{file}: the input {', '.join(map(str, sources[:2])) or '(unknown)'} could be any of {len(names)} videos; "
        f"its path must hold the name of one: {listed}"
    )


def _path_similarity(name: str, source: str | os.PathLike) -> int:
    """Number of trailing parts of a video's name that occur in sequence in the path."""
    path = Path(source).absolute()
    parts, wanted = (*path.parts[:-1], path.stem), name.split("/")
    # a folder may have a point in its name
    paths = [parts, path.parts]
    for count in range(len(wanted), 0, -1):
        tail = tuple(wanted[-count:])
        if any(tail == p[start : start + count] for p in paths for start in range(len(p) - count + 1)):
            return count
    return 0
