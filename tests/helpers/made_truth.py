"""A made-up ground truth for the report's tests, and a run that misses and switches tracks of it."""

import json
from pathlib import Path

from effowt_d2.video import FrameTracks
from helpers.made_runs import SIZE, make_frame

BOXES = {1: (10, 10, 30, 30), 2: (100, 40, 40, 40), 3: (60, 5, 20, 20)}
CATEGORIES = {1: "cup", 2: "<b>owl</b>", 3: "fox"}


def make_gt(path: Path, frames: int = 8, videos=("a/clip",), size=SIZE, step: int = 1) -> Path:
    """Three still objects in every video; 1 is known, the others aren't."""
    unlabelled = dict(neg_category_ids=[], not_exhaustive_category_ids=[])
    data = dict(
        images=[],
        annotations=[],
        videos=[dict(id=v, name=name, **unlabelled) for v, name in enumerate(videos, start=1)],
        tracks=[],
        categories=[dict(id=number, name=name) for number, name in CATEGORIES.items()],
        open_world=dict(known=[1], distractor=[]),
    )
    for v, name in enumerate(videos):
        ids = {track: 10 * v + track for track in BOXES}
        data["tracks"] += [dict(id=ids[track], video_id=v + 1, category_id=track) for track in BOXES]
        for t in range(frames):
            image = dict(id=100 * v + t, video_id=v + 1, frame_index=t * step, file_name=f"{name}/{t:04d}.jpg")
            data["images"].append(dict(image, width=size[0], height=size[1]))
            for track, box in BOXES.items():
                where = dict(image_id=image["id"], video_id=v + 1, track_id=ids[track], category_id=track)
                scaled = [value * size[0] / SIZE[0] for value in box]
                data["annotations"].append(dict(where, id=len(data["annotations"]), bbox=scaled, area=1, iscrowd=0))
    path.write_text(json.dumps(data))
    return path


def corners(track: int, shift: int = 0) -> tuple[int, int, int, int]:
    x, y, width, height = BOXES[track]
    return x + shift, y, x + width + shift, y + height


def run_with_failures(count: int = 8, named: bool = False) -> list[FrameTracks]:
    """Object 1 is found always; 2 by track 20, from frame 4 on by track 21; 3 only in the first two frames."""
    frames = []
    for t in range(count):
        rows = [(10, *corners(1, shift=t % 2), 0.9), (20 + (t >= 4), *corners(2), 0.8)]
        if t < 2:
            rows.append((30, *corners(3), 0.7))
        frames.append(make_frame(t, rows, name=f"{t:04d}" if named else None))
    return frames
