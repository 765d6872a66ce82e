"""Scores of a tracker on kept detections, and of oracles that take the place of one of its parts."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.evaluation.ground_truth import GroundTruth
from effowt_d2.evaluation.owta import box_iou
from effowt_d2.tracking import Tracker

from .detections import FrameDetections, videos_of

__all__ = ["ORACLES", "oracle_scores", "recall_at", "track", "tracking_scores"]

Rows = dict[str, np.ndarray]
NAMES = ("OWTA", "D.Re", "A.Acc")


def track(frames: list[FrameDetections], settings: Mapping[str, Any], limit: int = 0) -> Rows:
    """Results, as arrays, of a tracker with these settings.

    Args:
        frames: the detections of all videos.
        settings: arguments of :class:`effowt_d2.tracking.Tracker`.
        limit: detections per frame that it gets, best first; 0: all.
    """
    tracker = Tracker(**settings)
    pieces, ids = [], []
    for video in videos_of(frames):
        tracker.reset(video[0].frame_rate or None)
        for frame in video:
            frame = _best(frame, limit)
            found = tracker.update(frame.boxes, frame.scores, frame.embeddings, frame.frame_index)
            pieces.append(_rows(frame, found >= 0))
            ids.append(found[found >= 0].numpy())
    return {**_joined(pieces), "track_id": np.concatenate(ids)}


def _best(frame: FrameDetections, limit: int) -> FrameDetections:
    if not limit or len(frame.scores) <= limit:
        return frame
    keep = frame.scores.argsort(descending=True, stable=True)[:limit]
    values = {name: getattr(frame, name)[keep] for name in ("boxes", "scores", "embeddings")}
    return FrameDetections(frame.video_id, frame.image_id, frame.frame_index, frame.frame_rate, **values)


def _rows(frame: FrameDetections, keep: torch.Tensor) -> Rows:
    boxes = frame.boxes[keep].double()
    count = len(boxes)
    return {
        "image_id": np.full(count, frame.image_id),
        "video_id": np.full(count, frame.video_id),
        "bbox": torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).numpy(),
        "score": frame.scores[keep].double().numpy(),
    }


def _joined(pieces: list[Rows]) -> Rows:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def tracking_scores(gt: GroundTruth, rows: Rows, subsets: tuple[str, ...] = ("all",)) -> dict[str, dict[str, float]]:
    """OWTA, D.Re and A.Acc in percent, by subset."""
    scores = evaluate_tao_ow(gt, rows, subsets=subsets, workers=1, progress=False)
    return {subset: {name: scores[subset][name] for name in NAMES} for subset in subsets}


def oracle_scores(gt: GroundTruth, rows: Rows) -> dict[str, dict[str, float]]:
    """Scores of the results as they are, and with one of their parts replaced by the ground truth.

    Returns:
        By name: ``none``; ``association``: each result that overlaps a true box by half or more, one to one, gets that
        box's identity, the rest are skipped; ``localisation``: such results get the true box, and keep their
        identity; ``recall``: true boxes that no result matches are added, each with an identity that continues the
        track that matched this object last.
    """
    pairs = _matches(gt, rows)
    return {name: tracking_scores(gt, oracle(gt, rows, pairs))["all"] for name, oracle in ORACLES.items()}


def _matches(gt: GroundTruth, rows: Rows) -> np.ndarray:
    """(n, 2) rows of the ground truth and of the results that overlap by half or more, the greatest overlaps first."""
    found = []
    for image, number in enumerate(gt.image_ids.tolist()):
        truth, results = np.flatnonzero(gt.image == image), np.flatnonzero(rows["image_id"] == number)
        iou = box_iou(gt.boxes[truth], rows["bbox"][results])
        for i, j in zip(*linear_sum_assignment(-np.where(iou < 0.5, 0, iou))):
            if iou[i, j] >= 0.5:
                found.append((truth[i], results[j]))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _true_ids(gt: GroundTruth, rows: Rows, pairs: np.ndarray) -> Rows:
    kept = {name: column[pairs[:, 1]] for name, column in rows.items()}
    return {**kept, "track_id": gt.track[pairs[:, 0]]}


def _true_boxes(gt: GroundTruth, rows: Rows, pairs: np.ndarray) -> Rows:
    boxes = rows["bbox"].copy()
    boxes[pairs[:, 1]] = gt.boxes[pairs[:, 0]]
    return {**rows, "bbox": boxes}


def _all_found(gt: GroundTruth, rows: Rows, pairs: np.ndarray) -> Rows:
    new = int(rows["track_id"].max(initial=0)) + 1
    identity = dict(zip(pairs[:, 0].tolist(), rows["track_id"][pairs[:, 1]].tolist()))
    last: dict[int, int] = {}
    added = []
    for place in np.lexsort((gt.image_frame[gt.image], gt.image_video[gt.image])).tolist():
        track_id = int(gt.track[place])
        if place in identity:
            last[track_id] = identity[place]
        else:
            added.append((place, last.get(track_id, new + track_id)))
    places = np.array([place for place, _ in added], dtype=np.int64)
    more = {
        "image_id": gt.image_ids[gt.image[places]],
        "video_id": gt.video_ids[gt.image_video[gt.image[places]]],
        "bbox": gt.boxes[places],
        "score": np.ones(len(places)),
        "track_id": np.array([number for _, number in added], dtype=np.int64),
    }
    return _unique({name: np.concatenate([more[name], rows[name]]) for name in rows})


def _unique(rows: Rows) -> Rows:
    """Without the later one of two results of an image with one identity."""
    _, first = np.unique(np.stack([rows["image_id"], rows["track_id"]], axis=1), axis=0, return_index=True)
    return {name: column[np.sort(first)] for name, column in rows.items()}


ORACLES: dict[str, Callable[[GroundTruth, Rows, np.ndarray], Rows]] = {
    "none": lambda gt, rows, pairs: rows,
    "association": _true_ids,
    "localisation": _true_boxes,
    "recall": _all_found,
}


def recall_at(gt: GroundTruth, frames: list[FrameDetections], limit: int) -> dict[str, float]:
    """Recall in percent of the best ``limit`` detections of each frame, by overlap: mean of 0.5 to 0.95, at 0.5, 0.75."""
    by_image = {frame.image_id: _best(frame, limit) for frame in frames}
    best = []
    for image, number in enumerate(gt.image_ids.tolist()):
        truth = gt.boxes[gt.image == image]
        boxes = _rows(by_image[number], torch.ones(len(by_image[number].scores), dtype=torch.bool))["bbox"]
        best.append(box_iou(truth, boxes).max(axis=1, initial=0))
    overlap = np.concatenate(best)
    levels = np.arange(0.5, 0.96, 0.05)
    mean = float(np.mean([(overlap >= level).mean() for level in levels]))
    return {"AR": 100 * mean, "R50": 100 * float((overlap >= 0.5).mean()), "R75": 100 * float((overlap >= 0.75).mean())}
