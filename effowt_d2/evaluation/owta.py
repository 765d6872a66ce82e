"""The OWTA metric on arrays: detection recall and association, as TrackEval 1.3.0 computes them for TAO-OW.

Letters: G ground-truth boxes and N results in one frame, A = 19 thresholds. Similarities are IoUs in float64.
The arithmetic keeps TrackEval's order of operations where the order can be seen: ties in the assignment are
decided by the last bits of the scores, so sums run over frames in time order and over arrays in the same
memory order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

__all__ = ["ALPHAS", "VideoScore", "box_iou", "unmatched_results", "score_video", "combine_videos"]

EPS = np.finfo("float").eps
# Localisation thresholds: 0.05, 0.10, ..., 0.95
ALPHAS = np.arange(0.05, 0.99, 0.05)


@dataclass(frozen=True)
class VideoScore:
    """Sums of one video, per threshold.

    Attributes:
        true_positives: (A,) matched pairs.
        false_negatives: (A,) ground-truth boxes left over.
        false_positives: (A,) results left over; part of no score, kept for reports.
        association: (A,) AssA of the video, fractions.
    """

    true_positives: np.ndarray
    false_negatives: np.ndarray
    false_positives: np.ndarray
    association: np.ndarray


def box_iou(gt_boxes: np.ndarray, result_boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of every ground-truth box with every result.

    Args:
        gt_boxes: (G, 4) float64, x, y, width, height in pixels.
        result_boxes: (N, 4) float64, the same format.

    Returns:
        (G, N) float64 in [0, 1], Fortran-ordered; 0 where either box has no area.
    """
    gt_low, gt_high = gt_boxes[:, :2], gt_boxes[:, :2] + gt_boxes[:, 2:]
    low, high = result_boxes[:, :2], result_boxes[:, :2] + result_boxes[:, 2:]
    gt_size, size = gt_high - gt_low, high - low
    gt_area, area = gt_size[:, 0] * gt_size[:, 1], size[:, 0] * size[:, 1]
    # results x ground truth, transposed at the end: this gives the memory order TrackEval's matrices have
    overlap = np.minimum(high[:, None], gt_high) - np.maximum(low[:, None], gt_low)
    np.maximum(overlap, 0, out=overlap)
    intersection = overlap[..., 0] * overlap[..., 1]
    union = gt_area + area[:, None] - intersection
    valid = (gt_area > EPS) & (area > EPS)[:, None] & (union > EPS)
    return np.divide(intersection, union, out=np.zeros_like(union), where=valid).T


def unmatched_results(similarity: np.ndarray) -> np.ndarray:
    """Results without a partner when boxes are matched one to one from IoU 0.5 on.

    Args:
        similarity: (G, N) IoUs.

    Returns:
        (N,) bool, True where no ground-truth box was matched.
    """
    scores = np.where(similarity < 0.5 - EPS, 0, similarity)
    rows, columns = linear_sum_assignment(-scores)
    unmatched = np.ones(similarity.shape[1], dtype=bool)
    unmatched[columns[scores[rows, columns] > EPS]] = False
    return unmatched


def score_video(
    gt_ids: Sequence[np.ndarray], result_ids: Sequence[np.ndarray], similarity: Sequence[np.ndarray]
) -> VideoScore:
    """Score one video.

    Args:
        gt_ids: per frame, in time order, (G,) integer track ids, each at most once in a frame.
        result_ids: per frame (N,) integer track ids, each at most once in a frame.
        similarity: per frame (G, N) float64 IoUs.

    Returns:
        The video's counts and association per threshold. Ids only matter up to renaming.
    """
    num_gt = sum(len(ids) for ids in gt_ids)
    num_results = sum(len(ids) for ids in result_ids)
    if not num_gt or not num_results:
        zeros = np.zeros(len(ALPHAS))
        return VideoScore(zeros, zeros + num_gt, zeros + num_results, zeros)
    gt_ids, gt_count = _relabel(gt_ids)
    result_ids, result_count = _relabel(result_ids)
    alignment = _alignment(gt_ids, result_ids, similarity, gt_count, result_count)
    pairs, ious = _match(gt_ids, result_ids, similarity, alignment)
    # a pair counts at the first `level` thresholds
    level = np.searchsorted(ALPHAS - EPS, ious, side="right")
    matched = (level[:, None] > np.arange(len(ALPHAS))).sum(axis=0).astype(float)
    association = _association(pairs, level, gt_count, result_count) / np.maximum(1, matched)
    return VideoScore(matched, num_gt - matched, num_results - matched, association)


def combine_videos(scores: Iterable[VideoScore]) -> dict[str, np.ndarray]:
    """Scores of a whole set of videos.

    Args:
        scores: one entry a video.

    Returns:
        "OWTA", "DetRe" and "AssA", each (A,) fractions. An empty set scores 0.
    """
    scores = list(scores)
    zeros = np.zeros(len(ALPHAS))
    matched = sum((score.true_positives for score in scores), zeros)
    missed = sum((score.false_negatives for score in scores), zeros)
    weighted = sum((score.association * score.true_positives for score in scores), zeros)
    recall = matched / np.maximum(1, matched + missed)
    association = weighted / np.maximum(1, matched)
    return {"OWTA": np.sqrt(recall * association), "DetRe": recall, "AssA": association}


def _relabel(ids: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Ids per frame renamed to 0..n-1 in sorted order, and in how many frames each appears."""
    _, renamed, count = np.unique(np.concatenate(ids), return_inverse=True, return_counts=True)
    return np.split(renamed, np.cumsum([len(frame) for frame in ids])[:-1]), count


def _alignment(
    gt_ids: Sequence[np.ndarray],
    result_ids: Sequence[np.ndarray],
    similarity: Sequence[np.ndarray],
    gt_count: np.ndarray,
    result_count: np.ndarray,
) -> np.ndarray:
    """(gt ids, result ids) soft Jaccard index of every pair of tracks over the whole video."""
    potential = np.zeros((len(gt_count), len(result_count)))
    for gt_frame, result_frame, iou in zip(gt_ids, result_ids, similarity):
        # numpy rounds a sum differently for another memory order, hence the order is fixed
        iou = np.asfortranarray(iou)
        competition = iou.sum(0)[None, :] + iou.sum(1)[:, None] - iou
        share = np.divide(iou, competition, out=np.zeros_like(iou), where=competition > EPS)
        potential[gt_frame[:, None], result_frame[None, :]] += share
    return potential / (gt_count[:, None] + result_count[None, :] - potential)


def _match(
    gt_ids: Sequence[np.ndarray],
    result_ids: Sequence[np.ndarray],
    similarity: Sequence[np.ndarray],
    alignment: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (gt id * number of result ids + result id) and IoUs of the pairs assigned in all frames."""
    pairs, ious = [], []
    for gt_frame, result_frame, iou in zip(gt_ids, result_ids, similarity):
        if not len(gt_frame) or not len(result_frame):
            continue
        score = alignment[gt_frame[:, None], result_frame[None, :]] * iou
        rows, columns = linear_sum_assignment(-score)
        pairs.append(gt_frame[rows] * alignment.shape[1] + result_frame[columns])
        ious.append(iou[rows, columns])
    if not pairs:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    return np.concatenate(pairs), np.concatenate(ious)


def _association(pairs: np.ndarray, level: np.ndarray, gt_count: np.ndarray, result_count: np.ndarray) -> np.ndarray:
    """(A,) sum over pairs of tracks of n * n / (frames of both - n); n: how often the pair was matched."""
    codes, position = np.unique(pairs, return_inverse=True)
    histogram = np.zeros((len(codes), len(ALPHAS) + 1))
    np.add.at(histogram, (position, level), 1)
    # n at threshold a = number of matches with level > a
    times = histogram[:, ::-1].cumsum(axis=1)[:, -2::-1]
    frames = gt_count[codes // len(result_count)] + result_count[codes % len(result_count)]
    return (times * times / np.maximum(1, frames[:, None] - times)).sum(axis=0)
