"""Results made from the ground truth itself: what perfect, unlinked, IoU-linked and random boxes score.

They bracket every real tracker: a benchmark on which these don't spread apart would measure nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from effowt_d2.utils.boxes import xyxy_to_xywh


def _frames(document: dict) -> Iterator[tuple[dict, list[dict]]]:
    """Images in the order of the videos, with their annotations."""
    by_image: dict[int, list[dict]] = {image["id"]: [] for image in document["images"]}
    for annotation in document["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    for image in sorted(document["images"], key=lambda item: (item["video_id"], item["frame_index"])):
        yield image, by_image[image["id"]]


def _result(image: dict, box: list[float], track_id: int) -> dict:
    where = {"image_id": image["id"], "video_id": image["video_id"], "track_id": track_id}
    return {**where, "category_id": 1, "bbox": box, "score": 1.0}


def perfect(document: dict) -> list[dict]:
    """Every true box with its true id."""
    return [_result(i, a["bbox"], a["track_id"]) for i, annotations in _frames(document) for a in annotations]


def unlinked(document: dict) -> list[dict]:
    """Every true box with an id of its own: perfect detection, no association."""
    return [{**result, "track_id": number} for number, result in enumerate(perfect(document), start=1)]


def iou_linked(document: dict, *, least: float = 0.3) -> list[dict]:
    """Every true box, linked to the previous frame's by IoU alone (Hungarian, at least ``least``)."""
    results, previous, video, count = [], [], None, 0
    for image, truths in _frames(document):
        if image["video_id"] != video:
            video, previous = image["video_id"], []
        boxes = [annotation["bbox"] for annotation in truths]
        ids = [0] * len(boxes)
        if boxes and previous:
            overlap = coco_mask.iou([box for box, _ in previous], boxes, [0] * len(boxes))
            for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, column] >= least:
                    ids[column] = previous[row][1]
        for place, found in enumerate(ids):
            if not found:
                count += 1
                ids[place] = count
        previous = list(zip(boxes, ids, strict=True))
        results += [_result(image, box, track_id) for box, track_id in previous]
    return results


def random_boxes(document: dict, *, per_frame: int = 10, seed: int = 0) -> list[dict]:
    """Boxes of random place and size, each keeping its place and id through a video."""
    rng = np.random.default_rng(seed)
    sizes = {video["id"]: (video["width"], video["height"]) for video in document["videos"]}
    boxes: dict[int, np.ndarray] = {}
    for video_id, size in sizes.items():
        corners = np.sort(rng.uniform(0, 1, (per_frame, 2, 2)), axis=1) * size
        boxes[video_id] = xyxy_to_xywh(corners.reshape(-1, 4))
    return [
        _result(image, [float(value) for value in box], image["video_id"] * per_frame + number)
        for image, _ in _frames(document)
        for number, box in enumerate(boxes[image["video_id"]])
    ]


BASELINES: dict[str, Callable[[dict], list[dict]]] = {
    "perfect boxes, perfect ids": perfect,
    "perfect boxes, linked by IoU": iou_linked,
    "perfect boxes, not linked": unlinked,
    "random boxes": random_boxes,
}
