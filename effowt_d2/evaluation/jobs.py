"""One video at a time: its part of the arrays, and its score in every subset."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import owta
from .ground_truth import GroundTruth
from .results_io import Results, ResultsError

__all__ = ["VideoJob", "score_job", "video_jobs"]

Rows = list[np.ndarray]  # per frame


@dataclass(frozen=True)
class VideoJob:
    """A video with A annotations in F frames, N results in these frames, and S subsets; small enough to be
    sent.

    Attributes:
        frame_index: (F,) frame_index of the frames; the results' and annotations' frames are positions in it.
        gt_frame, gt_track, gt_boxes: (A,), (A,), (A, 4).
        gt_members: (A, S) bool, the subsets an annotation belongs to.
        frame, track, score, boxes: (N,), (N,), (N,), (N, 4); frames ascending, within a frame in file order.
        row: (N,) index of the entry in the result file.
        drops_unmatched: results unmatched at IoU 0.5 are taken out (category 1 is not exhaustively
            annotated).
        max_detections: results kept per frame; 0 means all.
        file: name of the results for messages.
    """

    frame_index: np.ndarray
    gt_frame: np.ndarray
    gt_track: np.ndarray
    gt_boxes: np.ndarray
    gt_members: np.ndarray
    frame: np.ndarray
    track: np.ndarray
    score: np.ndarray
    boxes: np.ndarray
    row: np.ndarray
    drops_unmatched: bool
    max_detections: int
    file: str


def video_jobs(
    gt: GroundTruth,
    results: Results,
    image: np.ndarray,
    members: np.ndarray,
    max_detections: int,
) -> Iterator[VideoJob]:
    """Cut ground truth and results into videos.

    Args:
        gt: the ground truth.
        results: the checked results.
        image: (N,) positions of the results' images in the ground truth.
        members: (A, S) bool, the subsets that each annotation belongs to.
        max_detections: results kept per frame; 0 means all.

    Yields:
        One job a video, in the order of the ground truth. Images without ground truth of any subset are left
        out, and with them the results there.
    """
    chosen = np.asarray(members.any(axis=1))
    scored = np.zeros(len(gt.image_ids), dtype=bool)
    scored[gt.image[chosen]] = True
    annotation_rows = _rows_by_video(gt, gt.image, chosen)
    result_rows = _rows_by_video(gt, image, scored[image])
    for video, (annotations, rows) in enumerate(zip(annotation_rows, result_rows)):
        images, gt_frame = np.unique(gt.image[annotations], return_inverse=True)
        # scored images of the video only, hence every result's image is one of `images`
        rows = rows[np.argsort(image[rows], kind="stable")]
        yield VideoJob(
            frame_index=gt.image_frame[images],
            gt_frame=gt_frame,
            gt_track=gt.track[annotations],
            gt_boxes=gt.boxes[annotations],
            gt_members=members[annotations],
            frame=np.searchsorted(images, image[rows]),
            track=results.track_id[rows],
            score=results.score[rows],
            boxes=results.bbox[rows],
            row=rows,
            drops_unmatched=bool(gt.drops_unmatched[video]),
            max_detections=max_detections,
            file=results.file,
        )


def score_job(job: VideoJob) -> list[owta.VideoScore]:
    """Score one video in every subset.

    Raises:
        ResultsError: a track id occurs twice among the results kept of a frame.
    """
    gt_rows = _rows_by_frame(job.gt_frame, len(job.frame_index))
    rows = [_limit(job, r) for r in _rows_by_frame(job.frame, len(job.frame_index))]
    _check_unique(job, np.concatenate([np.zeros(0, dtype=np.int64), *rows]))
    ious = [owta.box_iou(job.gt_boxes[g], job.boxes[r]) for g, r in zip(gt_rows, rows)]
    return [_score_subset(job, subset, gt_rows, rows, ious) for subset in range(job.gt_members.shape[1])]


def _score_subset(job: VideoJob, subset: int, gt_rows: Rows, rows: Rows, ious: list[np.ndarray]) -> owta.VideoScore:
    gt_ids, ids, similarity = [], [], []
    for frame in _frames_in_time(job, job.gt_members[:, subset]):
        inside = job.gt_members[gt_rows[frame], subset]
        iou, kept = ious[frame][inside], rows[frame]
        if job.drops_unmatched:
            matched = ~owta.unmatched_results(iou)
            iou, kept = iou[:, matched], kept[matched]
        gt_ids.append(job.gt_track[gt_rows[frame][inside]])
        ids.append(job.track[kept])
        similarity.append(iou)
    return owta.score_video(gt_ids, ids, similarity)


def _frames_in_time(job: VideoJob, members: np.ndarray) -> np.ndarray:
    """Frames with ground truth of the subset by frame_index, then by their first annotation in the file."""
    frames, first = np.unique(job.gt_frame[members], return_index=True)
    return frames[np.lexsort((first, job.frame_index[frames]))]


def _rows_by_frame(frame: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.searchsorted(frame[order], np.arange(1, count))) if count else []


def _rows_by_video(gt: GroundTruth, image: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of every video in turn, in file order, out of the chosen rows."""
    video = gt.image_video[image].astype(np.int32)
    order = np.argsort(video, kind="stable")
    stops = np.searchsorted(video[order], np.arange(len(gt.video_ids) + 1))
    for start, stop in zip(stops[:-1], stops[1:]):
        rows = order[start:stop]
        yield rows[chosen[rows]]


def _limit(job: VideoJob, rows: np.ndarray) -> np.ndarray:
    """The highest-scored results of a frame; in file order where nothing is dropped, as in TrackEval."""
    if not job.max_detections or len(rows) <= job.max_detections:
        return rows
    return rows[np.argsort(-job.score[rows], kind="stable")[: job.max_detections]]


def _check_unique(job: VideoJob, rows: np.ndarray) -> None:
    order = rows[np.lexsort((job.row[rows], job.track[rows], job.frame[rows]))]
    same = (np.diff(job.frame[order]) == 0) & (np.diff(job.track[order]) == 0)
    if same.any():
        first, second = order[:-1][same][0], order[1:][same][0]
        raise ResultsError(
            f"{job.file}: entry {job.row[second]}: 'track_id' {job.track[second]} is in the same image as "
            f"entry {job.row[first]} with this id; an id may be used once in an image"
        )
