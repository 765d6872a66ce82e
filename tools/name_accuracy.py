"""How many tracks are named right, with the boxes of the ground truth or of a tracker."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from effowt_d2.evaluation.ground_truth import GroundTruth
from effowt_d2.evaluation.groups import find_categories
from effowt_d2.evaluation.owta import box_iou
from effowt_d2.evaluation.results_io import Results
from effowt_d2.naming import TrackNamer
from effowt_d2.naming.vocabulary import SYNONYM
from effowt_d2.utils.boxes import xywh_to_xyxy

__all__ = [
    "FrameBoxes",
    "NamedTrack",
    "name_accuracy",
    "name_true_tracks",
    "result_boxes",
    "true_boxes",
    "word_meanings",
]

LEAST_OVERLAP = 0.5
"""Least IoU, summed over the frames, of a track and the true track it stands for."""


@dataclass(frozen=True)
class FrameBoxes:
    """N boxes with a track id, over all frames of a dataset.

    Attributes:
        image: (N,) positions of their images in the ground truth.
        track: (N,) ids, unique in a video.
        boxes: (N, 4) x, y, width, height in pixels.
        scores: (N,) 0..1.
    """

    image: np.ndarray
    track: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def at(self, rows: np.ndarray) -> "FrameBoxes":
        """Some of the boxes."""
        return FrameBoxes(self.image[rows], self.track[rows], self.boxes[rows], self.scores[rows])


@dataclass(frozen=True)
class NamedTrack:
    """A true track and the name its object was given.

    Attributes:
        category: the true category's id.
        name: of the track that stands for it; None if there is none, "" if that one was never looked at.
        confidence: of the name.
    """

    category: int
    name: str | None
    confidence: float


def true_boxes(gt: GroundTruth) -> FrameBoxes:
    """The boxes of the ground truth, as a perfect tracker would find them."""
    return FrameBoxes(gt.image, gt.track, gt.boxes, np.ones(len(gt.image)))


def result_boxes(results: Results, image: np.ndarray, min_score: float) -> FrameBoxes:
    """A tracker's boxes with a score of at least ``min_score``; ``image`` is what ``check_results`` returned."""
    rows = np.flatnonzero(results.score >= min_score)
    return FrameBoxes(image, results.track_id, results.bbox, results.score).at(rows)


def name_true_tracks(
    namer: TrackNamer, gt: GroundTruth, found: FrameBoxes, read: Callable[[int], np.ndarray]
) -> list[NamedTrack]:
    """Name the found tracks of every video, and return for each true track its final name.

    A found track stands for a true one if the IoU of their boxes over all frames, the sum of the intersections by that
    of the unions, is at least one half; each for one at most, so that the sum of these is greatest.

    Args:
        namer: is reset before each video.
        gt: the ground truth.
        found: the tracks to name.
        read: position of an image in the ground truth to (H, W, 3) uint8 BGR.
    """
    named = []
    truth = true_boxes(gt)
    for video in tqdm(range(len(gt.video_ids)), desc="naming", unit="video", disable=None):
        ours = found.at(np.flatnonzero(gt.image_video[found.image] == video))
        theirs_rows = np.flatnonzero(gt.image_video[gt.image] == video)
        theirs = truth.at(theirs_rows)
        images = np.flatnonzero(gt.image_video == video)
        images = images[np.argsort(gt.image_frame[images], kind="stable")]
        names = _names_of_video(namer, images, ours, read)
        pairs = dict(_pairs(theirs, ours))
        ids, first = np.unique(theirs.track, return_index=True)
        for track_id, row in zip(ids.tolist(), theirs_rows[first]):
            name, confidence = names[pairs[track_id]] if track_id in pairs else (None, 0.0)
            named.append(NamedTrack(int(gt.category[row]), name, confidence))
    return named


def _names_of_video(
    namer: TrackNamer, images: np.ndarray, boxes: FrameBoxes, read: Callable[[int], np.ndarray]
) -> dict[int, tuple[str, float]]:
    namer.reset()
    for image in images:
        here = boxes.at(np.flatnonzero(boxes.image == image))
        if len(here.track):
            namer.update(read(int(image)), xywh_to_xyxy(here.boxes), here.track, here.scores)
    return namer.names()


def _pairs(truth: FrameBoxes, found: FrameBoxes) -> Iterator[tuple[int, int]]:
    """Ids of true tracks and of the found tracks that stand for them, in one video."""
    true_ids, true_number = np.unique(truth.track, return_inverse=True)
    found_ids, found_number = np.unique(found.track, return_inverse=True)
    shared = np.zeros((len(true_ids), len(found_ids)))
    for image in np.intersect1d(truth.image, found.image):
        rows, columns = np.flatnonzero(truth.image == image), np.flatnonzero(found.image == image)
        iou = box_iou(truth.boxes[rows], found.boxes[columns])
        total = _areas(truth.boxes[rows])[:, None] + _areas(found.boxes[columns])[None]
        shared[true_number[rows][:, None], found_number[columns][None]] += iou * total / (1 + iou)
    whole = np.bincount(true_number, _areas(truth.boxes), len(true_ids))[:, None]
    whole = whole + np.bincount(found_number, _areas(found.boxes), len(found_ids))[None]
    overlap = shared / np.maximum(whole - shared, 1e-12)
    overlap[overlap < LEAST_OVERLAP] = 0
    for row, column in zip(*linear_sum_assignment(overlap, maximize=True)):
        if overlap[row, column]:
            yield int(true_ids[row]), int(found_ids[column])


def _areas(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2] * boxes[:, 3]


def name_accuracy(
    tracks: Sequence[NamedTrack], vocabulary: Sequence[str], categories: Mapping[int, Mapping], field: str = "name"
) -> dict:
    """Share of right names.

    A name is right if a category it stands for and the true one agree in ``field``. A word stands for the categories
    that it or one of its synonyms names, in whatever case; one that names none is never right.

    Args:
        tracks: the true tracks to count.
        vocabulary: the words that names were chosen from, each with its synonyms behind tabs.
        categories: the dataset's records of categories by id, each with ``name`` and ``field``.
        field: what has to be right: "name", or a part of it such as ShapesOW's "shape".

    Returns:
        ``tracks``: how many; ``found``: those that a found track stands for; ``named``: percent of the found ones that
        have a name; ``precision``: percent of the named ones whose name is right, NaN without any; ``right``: percent of
        the found ones that are named right; ``chance``: percent that a random word of the vocabulary would be;
        ``confidence``: their mean confidence in percent. All but the counts are NaN where nothing was found.
    """
    meaning = word_meanings(vocabulary, categories, field)
    counts = Counter(value for values in meaning.values() for value in values)
    found = [track for track in tracks if track.name is not None]
    truths = [categories[track.category][field] for track in found]
    right = [truth in meaning.get(track.name, ()) for track, truth in zip(found, truths)]
    named = [bool(track.name) for track in found]
    return {
        "tracks": len(tracks),
        "found": len(found),
        "named": _percent(named),
        "precision": _percent([good for good, name in zip(right, named) if name]),
        "right": _percent(right),
        "chance": _percent([counts[truth] / len(vocabulary) for truth in truths]),
        "confidence": _percent([track.confidence for track in found]),
    }


def word_meanings(vocabulary: Sequence[str], categories: Mapping[int, Mapping], field: str) -> dict[str, set]:
    """What the categories that a word stands for have in ``field``, by word; see :func:`name_accuracy`."""
    names = {number: record["name"] for number, record in categories.items()}
    folded = {number: name.casefold() for number, name in names.items()}
    meanings = {}
    for entry in vocabulary:
        words = entry.split(SYNONYM)
        # as they are written too, as TAO's categories are known by their names
        ids = find_categories(words, names, "vocabulary")[0]
        ids |= find_categories([word.casefold() for word in words], folded, "vocabulary")[0]
        meanings[words[0]] = {categories[number][field] for number in ids}
    return meanings


def _percent(values: Sequence[float]) -> float:
    return 100 * float(np.mean(values)) if len(values) else float("nan")
