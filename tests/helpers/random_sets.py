"""Seeded random TAO-format sets with everything that section 10.10 of the specification lists."""

import json
from pathlib import Path

import numpy as np

from effowt_d2.assets.tao import tao_names

KNOWN, UNKNOWN, DISTRACTOR, NO_GROUP = 805, 190, 504, 2005
CATEGORIES = (KNOWN, 13, UNKNOWN, 223, DISTRACTOR, 720, NO_GROUP)
FAULTS = ("shared_ids", "no_video_id", "zero_area", "ties", "crowded", "not_exhaustive", "empty_frames", "shuffled")


def category_list():
    """Categories with their names in TAO; one that TAO doesn't have."""
    names = [{"id": 1, "name": "acorn"}]
    names += [{"id": i, "name": tao_names()[i][0] if i in tao_names() else f"category {i}"} for i in CATEGORIES]
    # mug is merged into a known category: a distractor it stays nevertheless
    names[1]["merged"] = [{"id": 720, "name": "mug"}]
    return names


def random_set(seed, videos=3, frames=4, objects=3, extra=4, faults=FAULTS):
    """A ground truth and results for it.

    ``objects`` tracks a video, each followed by a noisy result that sometimes swaps its id, and ``extra``
    results without an object a frame; ``faults`` out of FAULTS adds the peculiarities.
    """
    rng = np.random.default_rng(seed)
    gt = {key: [] for key in ("videos", "images", "tracks", "annotations")}
    gt.update(info={}, licenses=[], categories=category_list())
    results = []
    for video in range(videos):
        _add_video(rng, gt, results, video, frames, objects, extra, faults)
    if "shuffled" in faults:
        results = [results[i] for i in rng.permutation(len(results))]
    return gt, results


def tied_set(seed, frames=6, objects=9, count=30):
    """One video whose frames hold the same boxes in another order, under other ids.

    Many tracks then agree equally well with an object, and only the rounding of sums distinguishes them.
    """
    rng = np.random.default_rng(seed)
    shapes = np.array([[0, 0, 10, 10], [3, 1, 10, 10], [1, 5, 7, 10]])
    gt_boxes, boxes = (shapes[rng.integers(3, size=n)] for n in (objects, count))
    video = {"id": 1, "name": "val/a", "neg_category_ids": [], "not_exhaustive_category_ids": []}
    tracks = [{"id": i, "category_id": KNOWN, "video_id": 1} for i in range(objects)]
    gt = {
        "info": {},
        "licenses": [],
        "categories": category_list(),
        "videos": [video],
        "tracks": tracks,
        "images": [],
        "annotations": [],
    }
    results = []
    for frame in rng.permutation(frames).tolist():
        gt["images"].append({"id": frame, "video_id": 1, "frame_index": frame})
        same = {"image_id": frame, "video_id": 1}
        gt["annotations"] += [
            {**same, "category_id": KNOWN, "track_id": track, "bbox": box}
            for track, box in zip(rng.permutation(objects).tolist(), rng.permutation(gt_boxes).tolist())
        ]
        results += [
            {**same, "category_id": 1, "track_id": track, "bbox": box, "score": 0.5}
            for track, box in zip(rng.permutation(count).tolist(), rng.permutation(boxes).tolist())
        ]
    return gt, results


def _add_video(rng, gt, results, video, frames, objects, extra, faults):
    acorn = "not_exhaustive" in faults and rng.random() < 0.5
    gt["videos"].append(
        {
            "id": 100 + video,
            "name": f"val/source/video{video}",
            "width": 100,
            "height": 100,
            "metadata": {},
            "neg_category_ids": [int(c) for c in rng.choice([1, 34, 805], size=rng.integers(3), replace=False)],
            "not_exhaustive_category_ids": [1, 805] if acorn else [805] if rng.random() < 0.5 else [],
        }
    )
    # an empty video now and then, and never only empty ones
    tracks = 0 if video and rng.random() < 0.2 else objects
    first_track = 10 * video
    categories = rng.choice(CATEGORIES, size=objects)
    for track in range(tracks):
        gt["tracks"].append({"id": first_track + track, "category_id": int(categories[track]), "video_id": 100 + video})
    places = _boxes(rng, objects, faults)
    for frame in rng.permutation(frames):
        image = int(1000 * video + 7 * frame + 3)
        gt["images"].append(
            {
                "id": image,
                "video_id": 100 + video,
                "frame_index": int(30 * frame),
                "width": 100,
                "height": 100,
                "file_name": f"val/source/video{video}/{frame}.jpg",
            }
        )
        here = [t for t in range(tracks) if "empty_frames" not in faults or rng.random() < 0.7]
        for track in here:
            gt["annotations"].append(
                {
                    "id": len(gt["annotations"]),
                    "image_id": image,
                    "video_id": 100 + video,
                    "area": 1.0,
                    "bbox": places[track].tolist(),
                    "track_id": first_track + track,
                    "category_id": int(categories[track]),
                }
            )
        results += _results(rng, video, image, places, extra, faults)
        places = places + rng.integers(-4, 5, size=places.shape) * [1, 1, 0, 0]


def _results(rng, video, image, places, extra, faults):
    boxes = [place + rng.integers(-5, 6, size=4) for place in places if rng.random() < 0.85]
    boxes += list(_boxes(rng, rng.integers(extra + 1), faults))
    if "ties" in faults and boxes:
        boxes += [boxes[i] for i in rng.integers(len(boxes), size=2)]
    if "crowded" in faults and rng.random() < 0.2:
        boxes += [boxes[i] for i in rng.integers(len(boxes), size=320)] if boxes else []
    # ids are mostly those of the objects' order, hence follow them, with swaps; the surplus gets higher ones
    ids = np.arange(len(boxes))
    if rng.random() < 0.5 and len(ids) > 1:
        ids[[0, 1]] = ids[[1, 0]]
    ids = ids + (1 if "shared_ids" in faults else 1000 * video)
    scores = rng.integers(1, 5 if "ties" in faults else 1000, size=len(boxes)) / 1000
    entries = []
    for box, track, score in zip(boxes, ids, scores):
        box = np.maximum(box, [-9, -9, 0, 0]).tolist()
        entries.append(
            {
                "image_id": image,
                "category_id": 1,
                "bbox": box,
                "score": float(score),
                "track_id": int(track),
                "video_id": 100 + video,
            }
        )
        if "no_video_id" in faults and rng.random() < 0.3:
            del entries[-1]["video_id"]
    return entries


def _boxes(rng, count, faults):
    boxes = rng.integers(0, 60, size=(count, 4)) + [0, 0, 5, 5]
    if "ties" not in faults:
        boxes = boxes + rng.random((count, 4))
    if "zero_area" in faults:
        boxes[rng.random(count) < 0.15, 2] = 0
    return boxes.astype(float)


def write(folder, gt, results):
    """Write both files; returns their paths."""
    paths = Path(folder) / "gt.json", Path(folder) / "results.json"
    for path, content in zip(paths, (gt, results)):
        path.write_text(json.dumps(content))
    return tuple(map(str, paths))
