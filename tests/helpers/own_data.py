"""A small dataset of two videos in every format that is read: the same images, tracks and boxes."""

import contextlib
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

WIDTH, HEIGHT, FRAMES = 64, 48, 3
CATEGORIES = [{"id": 3, "name": "dog"}, {"id": 7, "name": "car"}, {"id": 9, "name": "camel"}]
VIDEOS = ("a", "b")
# per track: video, category, box in the first frame, in whole pixels; it moves 3 pixels to the right a frame
TRACKS = {1: ("a", 3, (4, 6, 12, 10)), 2: ("a", 9, (30, 20, 16, 20)), 5: ("b", 7, (10, 10, 20, 14))}


def box(track: int, frame: int) -> list[int]:
    x, y, width, height = TRACKS[track][2]
    return [x + 3 * frame, y, width, height]


def file_name(video: str, frame: int) -> str:
    return f"{video}/img1/{frame + 1:06d}.png"


def write_images(root: Path) -> Path:
    """Grey frames with a bright square per track; returns the folder."""
    for video in VIDEOS:
        for frame in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 30, dtype=np.uint8)
            for track, (home, _, _) in TRACKS.items():
                if home == video:
                    x, y, width, height = box(track, frame)
                    image[y : y + height, x : x + width] = (60 * track % 200 + 55, 200, 255 - 40 * track)
            path = root / file_name(video, frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return root


def tao() -> dict:
    """The set in TAO's layout with all of its fields."""
    ids = {name: number for number, name in enumerate(VIDEOS, 1)}
    size = {"width": WIDTH, "height": HEIGHT}
    return {
        "videos": [
            {"id": ids[v], "name": v, **size, "neg_category_ids": [], "not_exhaustive_category_ids": []} for v in VIDEOS
        ],
        "images": [
            {"id": image_id(v, f), "video_id": ids[v], "frame_index": f, "file_name": file_name(v, f), **size}
            for v in VIDEOS
            for f in range(FRAMES)
        ],
        "tracks": [{"id": t, "category_id": c, "video_id": ids[v]} for t, (v, c, _) in TRACKS.items()],
        "annotations": [
            {
                "id": 10 * t + f,
                "image_id": image_id(v, f),
                "video_id": ids[v],
                "track_id": t,
                "category_id": c,
                "bbox": box(t, f),
                "area": box(t, f)[2] * box(t, f)[3],
                "iscrowd": 0,
            }
            for t, (v, c, _) in TRACKS.items()
            for f in range(FRAMES)
        ],
        "categories": [dict(category) for category in CATEGORIES],
    }


def image_id(video: str, frame: int) -> int:
    return 1 + VIDEOS.index(video) * FRAMES + frame


def coco() -> dict:
    """The same as still images."""
    document = tao()
    for entries, keys in (("images", ("video_id", "frame_index")), ("annotations", ("video_id", "track_id"))):
        document[entries] = [{k: v for k, v in entry.items() if k not in keys} for entry in document[entries]]
    return {key: document[key] for key in ("images", "annotations", "categories")}


def coco_vid() -> dict:
    """The same with COCO-VID's names, and without what it may lack."""
    document = tao()
    for image in document["images"]:
        image["frame_id"] = image.pop("frame_index")
    for label in document["annotations"]:
        label["instance_id"] = label.pop("track_id")
        del label["video_id"], label["area"], label["iscrowd"]
    del document["tracks"]
    return document


def _rle(track: int, frame: int, text: bool = True) -> dict:
    x, y, width, height = box(track, frame)
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    runs = mask_util.encode(mask)
    if text:
        return {"size": runs["size"], "counts": runs["counts"].decode()}
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.flatten(order="F")]))).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges, HEIGHT * WIDTH]).tolist()}


def youtube_vis() -> dict:
    """The same with masks: compressed, as a list of counts, and as a polygon."""
    masks = {1: _rle, 2: lambda track, frame: _rle(track, frame, text=False), 5: _polygons}
    return {
        "videos": [
            {
                "id": number,
                "width": WIDTH,
                "height": HEIGHT,
                "length": FRAMES,
                "file_names": [file_name(v, f) for f in range(FRAMES)],
            }
            for number, v in enumerate(VIDEOS, 1)
        ],
        "annotations": [
            {
                "id": t,
                "video_id": VIDEOS.index(v) + 1,
                "category_id": c,
                "segmentations": [masks[t](t, f) for f in range(FRAMES)],
                "iscrowd": 0,
            }
            for t, (v, c, _) in TRACKS.items()
        ],
        "categories": [dict(category) for category in CATEGORIES],
    }


def _polygons(track: int, frame: int) -> list[list[int]]:
    x, y, width, height = box(track, frame)
    return [[x, y, x + width, y, x + width, y + height], [x, y, x, y + height, x + width, y + height]]


def burst() -> dict:
    """The same in BURST's layout."""
    names = [f"img1/{frame + 1:06d}.png" for frame in range(FRAMES)]
    return {
        "split": "val",
        "sequences": [
            {
                "id": number,
                "seq_name": v,
                "dataset": "",
                "width": WIDTH,
                "height": HEIGHT,
                "fps": 10,
                "all_image_paths": names,
                "annotated_image_paths": names,
                "neg_category_ids": [],
                "not_exhaustive_category_ids": [],
                "track_category_ids": {str(t): c for t, (home, c, _) in TRACKS.items() if home == v},
                "segmentations": [
                    {
                        str(t): {"rle": _rle(t, f)["counts"], "is_gt": True}
                        for t, (home, _, _) in TRACKS.items()
                        if home == v
                    }
                    for f in range(FRAMES)
                ],
            }
            for number, v in enumerate(VIDEOS, 1)
        ],
        "categories": [dict(category) for category in CATEGORIES],
    }


def write_mot(root: Path) -> Path:
    """The same as folders of sequences, whose images :func:`write_images` puts there too; returns the folder."""
    for video in VIDEOS:
        (root / video / "gt").mkdir(parents=True, exist_ok=True)
        info = f"name={video}\nimDir=img1\nframeRate=10\nseqLength={FRAMES}\nimWidth={WIDTH}\nimHeight={HEIGHT}\n"
        (root / video / "seqinfo.ini").write_text(f"[Sequence]\n{info}imExt=.png\n")
        lines = [
            f"{f + 1},{t},{','.join(map(str, box(t, f)))},1,{1 if c == 3 else 3},1.0\n"
            for t, (home, c, _) in TRACKS.items()
            for f in range(FRAMES)
            if home == video
        ]
        (root / video / "gt" / "gt.txt").write_text("".join(lines))
    return root


@contextlib.contextmanager
def forgotten(*names: str):
    """Names that are registered within are not afterwards."""
    try:
        yield
    finally:
        for name in names:
            DatasetCatalog.pop(name, None)
            MetadataCatalog.pop(name, None)
