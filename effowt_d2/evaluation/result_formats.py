"""Results as other tools and the demo write them: COCO-VID JSON and MOTChallenge text, beside TAO's list."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from effowt_d2.formats import DatasetError
from effowt_d2.formats.lists import as_entries
from effowt_d2.formats.mot import read_mot_lines
from effowt_d2.utils.text import read_text

from .entries import Box, Id
from .ground_truth import Frames
from .results_io import Results, ResultsError, load_results

__all__ = ["read_results"]

logger = logging.getLogger(__name__)


class _Video(Struct):
    id: Id
    name: str = ""


class _Image(Struct):
    id: Id
    video_id: Id
    frame_id: Id
    file_name: str = ""


class _Track(Struct):
    image_id: Id
    bbox: Box
    score: float = 1.0
    track_id: Id | None = None
    instance_id: Id | None = None


def read_results(
    source: str | os.PathLike | Sequence[dict] | Mapping[str, np.ndarray] | Results,
    frames: Frames,
    progress: bool | None = None,
) -> Results:
    """Read results in any format.

    A MOTChallenge text is named like its video (``/`` written as ``-``) unless there is only one; its frames count
    the ground truth's images of the video from 1. Images of a COCO-VID file are those of the ground truth with the
    same file name, else with a ``frame_index`` equal to the ``frame_id``, in the video of the same name, or the only
    one.

    Args:
        source: a path: a result JSON file, a COCO-VID JSON file, a MOTChallenge text file or a folder of such; or
            what :func:`effowt_d2.evaluation.results_io.load_results` takes.
        frames: the ground truth's images.
        progress: see ``load_results``.

    Raises:
        ResultsError: the file is malformed, or names a video or a frame that the ground truth doesn't have.
    """
    if not isinstance(source, (str, os.PathLike)):
        return load_results(source, progress)
    path = Path(source)
    try:
        if path.is_dir() or path.suffix.lower() == ".txt":
            return _from_mot(path, frames)
        if _is_object(path):
            return _from_coco_vid(path, frames)
    except DatasetError as error:
        raise ResultsError(str(error)) from None
    return load_results(source, progress)


def _is_object(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(64)
    return head.decode("utf-8-sig", errors="replace").lstrip().startswith("{")


def _from_mot(path: Path, frames: Frames) -> Results:
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise ResultsError(f"{path}: the folder holds no .txt files, one a video")
    rows = []
    for file in files:
        video = _video(file.stem.replace("/", "-"), frames, str(file), alone=len(files) == 1)
        images = np.flatnonzero(frames.image_video == video)
        images = images[np.argsort(frames.image_frame[images], kind="stable")]
        for number, values in read_mot_lines(file):
            frame = int(values[0])
            if not 1 <= frame <= len(images):
                raise ResultsError(
                    f"{file}: line {number}: frame {frame}, but the ground truth has the images 1 to {len(images)} of "
                    f"'{frames.video_names[video]}'"
                )
            score = values[6] if len(values) > 6 else 1.0
            rows.append((frames.image_ids[images[frame - 1]], frames.video_ids[video], values[1], score, values[2:6]))
    return _results(str(path), rows)


def _video(name: str, frames: Frames, where: str, *, alone: bool) -> int:
    """Position of the video of that name, or of the only one."""
    names = [video.replace("/", "-") for video in frames.video_names]
    if name.replace("/", "-") in names:
        return names.index(name.replace("/", "-"))
    if alone and len(names) == 1:
        return 0
    listed = ", ".join(frames.video_names[:8]) + (", ..." if len(names) > 8 else "")
    raise ResultsError(f"{where}: '{name}' is none of the ground truth's {len(names)} videos: {listed}")


def _from_coco_vid(path: Path, frames: Frames) -> Results:
    try:
        document = json.loads(read_text(path))
    except ValueError as error:
        raise ResultsError(f"{path}: not a complete JSON file: {error}") from None
    videos = as_entries(document, "videos", _Video, str(path))
    tracks = as_entries(document, "annotations", _Track, str(path))
    alone = len(videos) == 1
    position = {video.id: _video(video.name, frames, f"{path}: videos", alone=alone) for video in videos}
    known = _Places(frames)
    places = {
        image.id: known.find(image, position[image.video_id]) if image.video_id in position else None
        for image in as_entries(document, "images", _Image, str(path))
    }
    rows, elsewhere = [], 0
    for number, track in enumerate(tracks):
        identity = track.instance_id if track.track_id is None else track.track_id
        if track.image_id not in places or identity is None:
            problem = "'track_id' is missing" if identity is None else f"'image_id' {track.image_id} is no image's id"
            raise ResultsError(f"{path}: annotations {number}: {problem}")
        place = places[track.image_id]
        if place is None:
            elsewhere += 1
            continue
        video = frames.video_ids[frames.image_video[place]]
        rows.append((frames.image_ids[place], video, identity, track.score, track.bbox))
    if elsewhere:
        if not rows:
            raise ResultsError(f"{path}: none of its images is one of {frames.file}, by file name or frame_id")
        logger.warning("%s: %d results are on images that %s doesn't list", path, elsewhere, frames.file)
    return _results(str(path), rows)


class _Places:
    """Finds images of the ground truth by video, file name and ``frame_id``."""

    def __init__(self, frames: Frames):
        self._by_index: dict[tuple[int, int], int] = {}
        self._by_name: dict[tuple[int, str], list[int]] = {}
        for place, (video, index) in enumerate(zip(frames.image_video.tolist(), frames.image_frame.tolist())):
            self._by_index[video, index] = place
            name = frames.image_names[place]
            for known_as in {name, os.path.basename(name)} - {""}:
                self._by_name.setdefault((video, known_as), []).append(place)

    def find(self, image: _Image, video: int) -> int | None:
        """Position of a result's image, or None where the ground truth doesn't have it."""
        for name in (image.file_name, os.path.basename(image.file_name)):
            found = self._by_name.get((video, name), [])
            if len(found) == 1:
                return found[0]
        return self._by_index.get((video, image.frame_id))


def _results(file: str, rows: Sequence[tuple]) -> Results:
    images, videos, tracks, scores, boxes = zip(*rows) if rows else ((), (), (), (), ())
    return Results(
        file,
        image_id=np.array(images, dtype=np.int64),
        bbox=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        score=np.array(scores, dtype=np.float64),
        track_id=np.array(tracks, dtype=np.float64).astype(np.int64),
        video_id=np.array(videos, dtype=np.int64),
    )
