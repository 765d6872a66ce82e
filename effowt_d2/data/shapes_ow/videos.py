"""Short videos in TAO format, exhaustively labelled: the val and test splits, and one to train memories of tracks on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .backgrounds import background
from .images import write_jpeg
from .labels import category_records, open_world_groups, visible_part
from .motion import Track, camera_path, change_looks, sample_tracks
from .render import Pose, draw_object, finish_frame, sample_light, sample_photometry
from .vocabulary import KNOWN_COUNTS

_STREAMS = {"val": 1, "test": 2, "train": 3}
_LEAST_CHANGING = 4  # frames in which a change has an end
_CHANGES = 1  # random stream of the changes, which leaves the others as they are
_REACH = 28  # how far the camera may shift, in pixels


@dataclass(frozen=True)
class VideoSplit:
    """Parameters of a video split.

    Attributes:
        name: "train", "val" or "test"; decides the random stream.
        videos, frames: how many, and how many frames each has.
        size: side of the square frames in pixels.
        objects: least and most objects in a video, look-alikes not counted.
        radii: least and greatest object radius in pixels.
        seed: the benchmark's seed.
        changing: every object turns into another texture and colour, see :func:`change_looks`; all else is as without, the categories too,
            which are those of the first frame.
    """

    name: str = "val"
    videos: int = 20
    frames: int = 24
    size: int = 256
    objects: tuple[int, int] = (4, 8)
    radii: tuple[float, float] = (14.0, 40.0)
    seed: int = 0
    changing: bool = False

    def __post_init__(self) -> None:
        if self.name not in _STREAMS:
            raise ValueError(f"ShapesOW has no video split '{self.name}'; it has {', '.join(_STREAMS)}")
        if self.changing and self.frames < _LEAST_CHANGING:
            raise ValueError(f"changing looks need {_LEAST_CHANGING} frames or more, got {self.frames}")

    @property
    def parameters(self) -> dict:
        """Everything that decides the content, for the stamp."""
        values = dataclasses.asdict(self)
        # splits that were rendered before there was a choice stay valid
        return values if self.changing else {name: value for name, value in values.items() if name != "changing"}


def draw_video(split: VideoSplit, index: int) -> tuple[list[Track], Iterator[tuple[np.ndarray, dict[int, dict]]]]:
    """Render video number ``index``, frame by frame.

    Args:
        split: parameters.
        index: from 0; the video depends on nothing but the split's parameters and this.

    Returns:
        The tracks, and an iterator over frames: uint8 RGB (size, size, 3) and, by index into the tracks,
        labels of the visible objects (``bbox``, ``area``, ``segmentation``).
    """
    stream = [split.seed, _STREAMS[split.name], index]
    rng = np.random.default_rng(stream)
    tracks = sample_tracks(rng, objects=split.objects, radii=split.radii, frames=split.frames, size=split.size)
    if split.changing:
        tracks = change_looks(np.random.default_rng([*stream, _CHANGES]), tracks)
    return tracks, _frames(rng, split, tracks)


def _frames(rng: np.random.Generator, split: VideoSplit, tracks: list[Track]):
    size = split.size
    world = background(rng, height=size + 2 * _REACH, width=size + 2 * _REACH)
    camera = camera_path(rng, frames=split.frames, reach=_REACH - 1)
    light, (gain, offset, noise) = sample_light(rng), sample_photometry(rng)
    flicker = np.cumsum(rng.normal(0, 0.006, split.frames))
    for time, (shift_x, shift_y) in enumerate(camera):
        crop = np.float64([[1, 0, -(_REACH + shift_x)], [0, 1, -(_REACH + shift_y)]])
        frame = cv2.warpAffine(world, crop, (size, size), flags=cv2.INTER_LINEAR)
        owners = np.full((size, size), -1, dtype=np.int16)
        areas = []
        for number, track in enumerate(tracks):
            pose = track.poses[time]
            seen = Pose(pose.x - shift_x, pose.y - shift_y, pose.radius, pose.angle)
            areas.append(draw_object(frame, owners, number, track.look_at(time), seen, light=light))
        parts = {number: visible_part(owners, number, area) for number, area in enumerate(areas)}
        image = finish_frame(frame, rng, (gain + flicker[time], offset, noise))
        yield image, {number: part for number, part in parts.items() if part}


def write_videos(split: VideoSplit, folder: Path) -> None:
    """Render the split into ``folder``: ``frames/<video>/*.jpg`` and ``annotations_<known>.json`` in TAO
    format.

    The files differ in ``open_world`` only: the same videos are scored against 4, 8 and 16 known shapes.
    """
    document = {
        "info": {"description": f"ShapesOW {split.name} videos, exhaustively labelled"},
        "licenses": [],
        **{part: [] for part in ("images", "videos", "tracks", "annotations")},
        "categories": category_records(),
    }
    for index in tqdm(range(split.videos), desc=f"ShapesOW {split.name}", unit="video"):
        _write_video(split, index, folder, document)
    for known in KNOWN_COUNTS:
        document.update(open_world_groups(known))
        (folder / f"annotations_{known}.json").write_text(json.dumps(document))


def _write_video(split: VideoSplit, index: int, folder: Path, document: dict) -> None:
    """Render one video and add its records to the annotation document."""
    name = f"{split.name}_{index + 1:04d}"
    (folder / "frames" / name).mkdir(parents=True)
    shape = {"width": split.size, "height": split.size}
    document["videos"].append(
        {
            "id": index + 1,
            "name": name,
            **shape,
            "neg_category_ids": [],
            "not_exhaustive_category_ids": [],
            "metadata": {},
        }
    )
    tracks, frames = draw_video(split, index)
    first, seen = len(document["tracks"]) + 1, set()
    for time, (pixels, parts) in enumerate(frames):
        file_name = f"frames/{name}/{time + 1:04d}.jpg"
        write_jpeg(folder / file_name, pixels)
        image = {"id": len(document["images"]) + 1, "video_id": index + 1, "file_name": file_name, **shape}
        document["images"].append({**image, "frame_index": time, "video": name})
        for number, part in parts.items():
            seen.add(number)
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image["id"],
                    "video_id": index + 1,
                    "track_id": first + number,
                    "category_id": tracks[number].look.category_id,
                    "iscrowd": 0,
                    **part,
                }
            )
    # an object that never came into sight has no track; its id stays free
    for number in sorted(seen):
        record = {"id": first + number, "category_id": tracks[number].look.category_id, "video_id": index + 1}
        document["tracks"].append(record)
