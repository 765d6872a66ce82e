"""Warnings about results and ground truth that can be scored but look wrong; scores don't change."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from effowt_d2.utils.box_rules import exceeds_image, looks_like

from .ground_truth import GroundTruth
from .results_io import NO_VIDEO, Results

__all__ = ["count_objects", "layout_warning", "warn_about"]

logger = logging.getLogger(__name__)

# fraction of boxes outside their images that causes a warning
_MANY = 0.1


def count_objects(gt: GroundTruth, members: np.ndarray) -> int:
    """Number of objects (tracks within one video) with annotations out of ``members``, (A,) bool."""
    pairs = np.stack([gt.image_video[gt.image[members]], gt.track[members]], axis=1)
    return len(np.unique(pairs, axis=0))


def warn_about(
    results: Results, gt: GroundTruth, image: np.ndarray, scored: np.ndarray, counts: Mapping[str, int]
) -> None:
    """Log a warning for everything that looks wrong.

    Args:
        results: the checked results.
        gt: the ground truth.
        image: (N,) positions of the results' images.
        scored: (A,) bool, annotations of any subset that is scored.
        counts: objects by subset.
    """
    messages = [
        *_ids(results, gt, image),
        *_images_without_results(results, gt, image, scored),
        *_boxes("results", results.file, results.bbox, gt.image_sizes[image]),
        *_boxes("annotations", gt.file, gt.boxes, gt.image_sizes[gt.image]),
        *(f"{gt.file}: no object is in the group '{subset}'" for subset, count in counts.items() if not count),
    ]
    for message in messages:
        logger.warning(message)


def layout_warning(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """Description of a fault of many boxes, (N, 4) x, y, width, height in images of (N, 2) sizes; "" for nothing."""
    suspected = looks_like(boxes, sizes)
    beyond = exceeds_image(boxes, sizes)
    if suspected or (len(boxes) and beyond.mean() > _MANY):
        what = f"; they look like {suspected}" if suspected else ""
        return f"{beyond.sum()} of {len(boxes)} boxes exceed their images (expected x, y, width, height){what}"
    return ""


def _boxes(what: str, file: str, boxes: np.ndarray, sizes: np.ndarray) -> Sequence[str]:
    problem = layout_warning(boxes, sizes)
    return [f"{file}: {what}: {problem}"] if problem else []


def _ids(results: Results, gt: GroundTruth, image: np.ndarray) -> Sequence[str]:
    messages = []
    missing = int((results.video_id == NO_VIDEO).sum())
    if missing:
        messages.append(f"{results.file}: {missing} entries have no video_id; it is taken from their images")
    ids, place = np.unique(results.track_id, return_inverse=True)
    video = gt.image_video[image]
    some_video = np.empty(len(ids), dtype=video.dtype)
    some_video[place] = video
    shared = len(np.unique(place[some_video[place] != video]))
    if shared:
        messages.append(
            f"{results.file}: {shared} track ids occur in several videos; each is scored as another track in every "
            "video"
        )
    return messages


def _images_without_results(results: Results, gt: GroundTruth, image: np.ndarray, scored: np.ndarray) -> Sequence[str]:
    images = np.unique(gt.image[scored])
    empty = np.setdiff1d(images, image)
    if not len(empty):
        return []
    videos = np.setdiff1d(gt.image_video[images], gt.image_video[image])
    whole = f", among them all of {len(videos)} videos" if len(videos) else ""
    return [f"{results.file}: {len(empty)} of {len(images)} scored images have no results{whole}"]
