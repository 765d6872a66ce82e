"""TAO-OW evaluation: files in, numbers out."""

import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from .entries import NO_VIDEO
from .ground_truth import GroundTruth, load_ground_truth
from .groups import CategoryGroups, check_subsets, choose_groups
from .jobs import VideoJob, score_job, video_jobs
from .owta import VideoScore, combine_videos
from .processes import map_in_processes
from .results_io import Results, check_results, load_results

__all__ = ["evaluate_tao_ow", "format_table"]

# Below this many results the processes cost more than they save: their server imports this package once, 5 seconds of
# one core, in which as many as 2.5 million results are scored
SMALL = 4_000_000

logger = logging.getLogger(__name__)


def evaluate_tao_ow(
    gt_json: str | os.PathLike | Mapping | GroundTruth,
    results_json: str | os.PathLike | Sequence[dict] | Mapping[str, np.ndarray] | Results,
    subsets: Sequence[str] = ("all", "known", "unknown"),
    max_detections: int = 300,
    *,
    groups: CategoryGroups | Mapping | None = None,
    workers: int = 0,
    progress: bool | None = None,
) -> dict[str, dict]:
    """Score tracking results as TrackEval 1.3.0 scores TAO-OW, all subsets in one pass.

    Args:
        gt_json: path or content of a TAO-format ground truth.
        results_json: path or content of a result file (a list of objects), or a dict of arrays image_id, bbox
            (x, y, width, height in pixels), score, track_id and optionally video_id.
        subsets: out of "all", "known", "unknown", "distractor".
        max_detections: results kept per image, highest scores first; 0 keeps all.
        groups: known and distractor category ids, ``{"known": ids, "distractor": ids}``; by default the
            ground truth's field "open_world", else TAO's.
        workers: processes; 0 means one per core. With 1, and for small inputs, none is started.
        progress: True shows bars, False none, None only on a terminal.

    Returns:
        ``{subset: {"OWTA", "D.Re", "A.Acc": percent, "per_alpha": {"OWTA", "DetRe", "AssA": 19
        fractions}}}``.

    Raises:
        ResultsError, GroundTruthError: the input cannot be scored (both are ValueError); file, entry and
            value named.
        ValueError: an unknown subset or a negative limit.
        WorkerDiedError: a process was killed, mostly by the system for want of memory.
    """
    check_subsets(subsets)
    if isinstance(max_detections, bool) or not isinstance(max_detections, int) or max_detections < 0:
        raise ValueError(f"max_detections must be an integer from 0 (no limit) on, got {max_detections!r}")
    gt = load_ground_truth(gt_json)
    groups = choose_groups(groups, gt.open_world, gt.file)
    results = load_results(results_json, progress)
    image = check_results(results, gt)
    _warn(results, gt, image)
    jobs = video_jobs(gt, results, image, groups, subsets, max_detections)
    scores = _score_all(jobs, len(gt.video_ids), _processes(workers, len(results)), progress)
    return {subset: _report([video[i] for video in scores]) for i, subset in enumerate(subsets)}


def format_table(scores: Mapping[str, Mapping]) -> str:
    """A text table of OWTA, D.Re and A.Acc per subset.

    Args:
        scores: what :func:`evaluate_tao_ow` returned.
    """
    names = ("OWTA", "D.Re", "A.Acc")
    rows = [[subset, *(score[name] for name in names)] for subset, score in scores.items()]
    return tabulate(rows, headers=["subset", *names], floatfmt=".2f", tablefmt="pipe")


def _score_all(jobs: Iterator[VideoJob], count: int, processes: int, progress: bool | None) -> list[list[VideoScore]]:
    hidden = None if progress is None else not progress
    with tqdm(total=count, unit="video", desc="scoring", disable=hidden) as bar:
        if processes == 1:
            return [_counted(score_job(job), bar) for job in jobs]
        return [_counted(scores, bar) for scores in map_in_processes(score_job, jobs, processes)]


def _counted(scores: list[VideoScore], bar: tqdm) -> list[VideoScore]:
    bar.update()
    return scores


def _processes(workers: int, num_results: int) -> int:
    if workers < 0:
        raise ValueError(f"workers must be 0 (one per core) or a number of processes, got {workers}")
    # a daemonic process, such as a data loader's worker, may not start others
    if num_results < SMALL or multiprocessing.current_process().daemon:
        return 1
    if workers:
        return workers
    # the cores this process may use, where the system tells
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(videos: list[VideoScore]) -> dict:
    curves = combine_videos(videos)
    report: dict[str, Any] = {
        name: 100 * float(np.mean(curves[key]))
        for name, key in (("OWTA", "OWTA"), ("D.Re", "DetRe"), ("A.Acc", "AssA"))
    }
    report["per_alpha"] = {name: curve.tolist() for name, curve in curves.items()}
    return report


def _warn(results: Results, gt: GroundTruth, image: np.ndarray) -> None:
    """Say what is repaired; neither repair changes a score."""
    missing = int((results.video_id == NO_VIDEO).sum())
    if missing:
        logger.warning("%s: %d entries have no video_id; their images tell it", results.file, missing)
    ids, place = np.unique(results.track_id, return_inverse=True)
    video = gt.image_video[image]
    some_video = np.empty(len(ids), dtype=video.dtype)
    some_video[place] = video
    shared = len(np.unique(place[some_video[place] != video]))
    if shared:
        logger.warning(
            "%s: %d track ids occur in several videos; each is scored as another track in every video",
            results.file,
            shared,
        )
