"""TAO-OW evaluation as Detectron2 runs it: inside training, over many processes."""

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from effowt_d2.formats import Dataset, read_registered
from effowt_d2.formats.consistency import check_consistent
from effowt_d2.utils.boxes import xyxy_to_xywh

from .ground_truth import Frames, GroundTruth, load_frames, load_ground_truth, read_video_dataset
from .groups import CategoryGroups, check_subsets
from .results_io import Results
from .tao_ow import check_limits, evaluate_tao_ow, format_table, groups_for
from .writers import write_mot_challenge, write_results_json

__all__ = ["TAOOWEvaluator"]

logger = logging.getLogger(__name__)


class TAOOWEvaluator(DatasetEvaluator):
    """Collects tracks, saves them, and scores them against the dataset's ground truth.

    The dataset's metadata holds ``json_file``, and optionally ``format`` and ``open_world_groups``, the known and
    distractor categories. Files written: ``tao_ow_results.json`` (loadable by trackeval) and ``mot/VIDEO.txt``.

    Args:
        dataset_name: name in Detectron2's catalogs.
        output_dir: folder for the results.
        distributed: gather from all processes; otherwise each process scores what it has seen.
        max_detections: results kept per image when scoring, 0 for all; the files hold everything.
        subsets: out of "all", "known", "unknown", "distractor".
        workers: processes for scoring; 0 means one per core.
        groups: known and distractor categories of several datasets, ``{"known": ids or names, ...}``; names that this
            one lacks are passed over. None: those of the metadata, else those of
            :func:`effowt_d2.evaluation.groups.choose_groups`.
        skip_missing: score without the videos that lack an image file.

    Raises:
        ValueError: wrong subsets, limit or workers.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str | os.PathLike,
        distributed: bool = True,
        max_detections: int = 300,
        subsets: Sequence[str] = ("all", "known", "unknown"),
        workers: int = 0,
        groups: Mapping | None = None,
        skip_missing: bool = False,
    ):
        check_subsets(subsets)
        check_limits(max_detections, workers)
        self._dataset_name = dataset_name
        self._output_dir = os.fspath(output_dir)
        self._distributed = distributed
        self._max_detections = max_detections
        self._subsets = tuple(subsets)
        self._workers = workers
        self._groups = groups
        self._skip_missing = skip_missing
        self.reset()

    def read_ground_truth(self) -> Dataset:
        """The dataset as it will be scored, checked; the groups too where it has annotations.

        Raises:
            GroundTruthError: it cannot be scored.
            ValueError: a subset needs groups of categories, and there are none.
        """
        dataset = read_video_dataset(read_registered(self._dataset_name, skip_missing=self._skip_missing))
        if dataset.annotations:
            self.choose_groups(load_ground_truth(dataset))
        return dataset

    def choose_groups(self, gt: GroundTruth) -> CategoryGroups:
        """The groups that a ground truth is scored with, see :func:`effowt_d2.evaluation.tao_ow.groups_for`."""
        if self._groups is not None:
            return groups_for(gt, self._groups, self._subsets, partial=True)
        groups = MetadataCatalog.get(self._dataset_name).get("open_world_groups", None)
        return groups_for(gt, groups, self._subsets)

    def reset(self) -> None:
        """Forget all predictions."""
        self._predictions: list[dict[str, Any]] = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Take in the tracks of some frames.

        Args:
            inputs: per frame a dict with image_id and video_id.
            outputs: per frame a dict with "instances": pred_boxes (N, 4) as x0, y0, x1, y1 in pixels of the
                original image, scores (N,), track_ids (N,) integers; -1 marks a box that is not tracked,
                which is dropped.

        Raises:
            ValueError: the instances lack a field.
        """
        for frame, output in zip(inputs, outputs):
            instances = output["instances"]
            missing = [name for name in ("pred_boxes", "scores", "track_ids") if not instances.has(name)]
            if missing:
                raise ValueError(
                    f"image {frame['image_id']}: the instances lack {missing}, they have {list(instances.get_fields())}"
                )
            instances = instances[instances.track_ids >= 0].to("cpu")
            boxes = xyxy_to_xywh(instances.pred_boxes.tensor.detach().double())
            self._predictions.append(
                {
                    "image_id": int(frame["image_id"]),
                    "video_id": int(frame["video_id"]),
                    "bbox": boxes.numpy(),
                    "score": instances.scores.detach().numpy().astype(np.float64),
                    "track_id": instances.track_ids.numpy().astype(np.int64),
                }
            )

    def evaluate(self) -> OrderedDict:
        """Save the predictions of all processes, then score them.

        Returns:
            ``{"tao_ow": {"OWTA-all": percent, "D.Re-all": ..., "A.Acc-all": ..., "OWTA-known": ..., ...}}``
            with a copy of the first subset's numbers as "OWTA", "D.Re", "A.Acc", which is what Detectron2
            prints. Empty on other than the main process, without predictions, and for a split without
            annotations.

        Raises:
            ResultsError, GroundTruthError: the predictions cannot be scored; they are saved before, unless
                the dataset's file is unreadable or its list of videos and images is wrong.
        """
        ranks = [self._predictions]
        if self._distributed:
            ranks = comm.gather(self._predictions, dst=0)
            if not comm.is_main_process():
                return OrderedDict()
        if not any(ranks):
            logger.warning("[TAOOWEvaluator] no frame of %s was processed", self._dataset_name)
            return OrderedDict()
        dataset = read_video_dataset(read_registered(self._dataset_name, skip_missing=self._skip_missing, check=False))
        check_consistent(dataset, labels=False)
        frames = load_frames(dataset)
        path = os.path.join(self._output_dir, "tao_ow_results.json")
        results = _merge(ranks, frames, path)
        write_results_json(results, path)
        logger.info("[TAOOWEvaluator] saved %d results of %s to %s", len(results), self._dataset_name, path)
        _check_seen_once(ranks)
        write_mot_challenge(results, frames, os.path.join(self._output_dir, "mot"))
        check_consistent(dataset)
        if not dataset.annotations:
            logger.info("[TAOOWEvaluator] %s has no annotations: nothing to score", self._dataset_name)
            return OrderedDict()
        return self._score(load_ground_truth(dataset), results)

    def _score(self, gt: GroundTruth, results: Results) -> OrderedDict:
        groups = self.choose_groups(gt)
        scores = evaluate_tao_ow(gt, results, self._subsets, self._max_detections, groups=groups, workers=self._workers)
        logger.info(
            "[TAOOWEvaluator] %s, at most %s results an image:\n%s",
            self._dataset_name,
            self._max_detections or "unlimited",
            format_table(scores),
        )
        names = ("OWTA", "D.Re", "A.Acc")
        # Detectron2 prints only names without "-", as it does with AP and AP-category
        flat = {name: scores[self._subsets[0]][name] for name in names}
        flat.update((f"{name}-{subset}", scores[subset][name]) for subset in self._subsets for name in names)
        return OrderedDict(tao_ow=flat)


def _merge(ranks: Sequence[Sequence[dict]], frames: Frames, path: str) -> Results:
    """All predictions by video and time, whichever process saw them; track ids unique over the whole file."""
    rank = [number for number, predictions in enumerate(ranks) for _ in predictions]
    predictions = [prediction for part in ranks for prediction in part]
    order = _order(predictions, frames)
    predictions, rank = [predictions[i] for i in order], np.array(rank)[order]
    lengths = [len(prediction["score"]) for prediction in predictions]
    columns = {name: np.concatenate([p[name] for p in predictions]) for name in ("bbox", "score", "track_id")}
    for name in ("image_id", "video_id"):
        columns[name] = np.repeat(np.array([p[name] for p in predictions], dtype=np.int64), lengths)
    # every process has its own tracker, which is reset for every video
    keys = np.stack([columns["video_id"], np.repeat(rank, lengths), columns["track_id"]])
    columns["track_id"] = _rename(keys)
    return Results(path, **columns)


def _order(predictions: Sequence[dict], frames: Frames) -> np.ndarray:
    """Order of the dataset: by video, then frame_index; images that it does not have come last."""
    ids = np.array([prediction["image_id"] for prediction in predictions])
    place = np.searchsorted(frames.image_ids, ids)
    known = np.append(frames.image_ids, 0)[place] == ids
    known &= place < len(frames.image_ids)
    video = np.where(known, np.append(frames.image_video, 0)[place], len(frames.video_ids))
    time = np.where(known, np.append(frames.image_frame, 0)[place], 0)
    return np.lexsort((ids, time, video))


def _rename(keys: np.ndarray) -> np.ndarray:
    """Columns of ``keys`` (K, N) as numbers from 1 in order of first appearance."""
    codes = np.zeros(keys.shape[1], dtype=np.int64)
    for row in keys:
        values, place = np.unique(row, return_inverse=True)
        _, codes = np.unique(codes * len(values) + place, return_inverse=True)
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    names = np.empty(len(first), dtype=np.int64)
    names[np.argsort(first)] = np.arange(1, len(first) + 1)
    return names[codes]


def _check_seen_once(ranks: Sequence[Sequence[dict]]) -> None:
    ids, counts = np.unique([p["image_id"] for part in ranks for p in part], return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"{(counts > 1).sum()} images were processed more than once, the first has id "
            f"{ids[counts > 1][0]}; the data loader must hand out every frame once"
        )
