"""TAO-OW evaluation: files in, numbers out."""

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from .ground_truth import GroundTruth, load_ground_truth
from .groups import CategoryGroups, check_subsets, choose_groups
from .jobs import VideoJob, score_job, video_jobs
from .owta import VideoScore, combine_videos
from .processes import map_in_processes
from .result_formats import read_results
from .results_io import Results, check_results
from .sanity import count_objects, warn_about

__all__ = ["check_limits", "evaluate_tao_ow", "format_table", "groups_for"]

# Below this many results the processes cost more than they save: their server imports this package once, 5 seconds of
# one core, in which as many as 2.5 million results are scored
SMALL = 4_000_000


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
        gt_json: path or content of a ground truth, in TAO's format or another one of videos (docs/own_data.md).
        results_json: path or content of a result file (a list of objects), or a dict of arrays image_id, bbox
            (x, y, width, height in pixels), score, track_id and optionally video_id; or the path of a COCO-VID file,
            of a MOTChallenge text or of a folder of such.
        subsets: out of "all", "known", "unknown", "distractor".
        max_detections: results kept per image, highest scores first; 0 keeps all.
        groups: known and distractor categories, ``{"known": ids or names, "distractor": ids or names}``; by default
            the ground truth's field "open_world", else TAO's where its categories are TAO's.
        workers: processes; 0 means one per core. With 1, and for small inputs, none is started.
        progress: True shows bars, False none, None only on a terminal.

    Returns:
        ``{subset: {"OWTA", "D.Re", "A.Acc": percent, "objects": number of them, "per_alpha": {"OWTA", "DetRe",
        "AssA": 19 fractions}}}``. What looks wrong but can be scored is logged as a warning.

    Raises:
        ResultsError, GroundTruthError: the input cannot be scored (both are ValueError); file, entry and
            value named.
        ValueError: an unknown subset, a negative limit, wrong groups, or none for a subset that needs them.
        WorkerDiedError: a process was killed, usually because the system is out of memory.
    """
    check_subsets(subsets)
    check_limits(max_detections, workers)
    gt = load_ground_truth(gt_json)
    groups = groups_for(gt, groups, subsets)
    results = read_results(results_json, gt, progress)
    image = check_results(results, gt)
    members = np.stack([groups.members(subset, gt.category) for subset in subsets], axis=1)
    counts = {subset: count_objects(gt, members[:, i]) for i, subset in enumerate(subsets)}
    warn_about(results, gt, image, np.asarray(members.any(axis=1)), counts)
    jobs = video_jobs(gt, results, image, members, max_detections)
    scores = _score_all(jobs, len(gt.video_ids), _processes(workers, len(results)), progress)
    return {
        subset: {"objects": counts[subset], **_report([video[i] for video in scores])}
        for i, subset in enumerate(subsets)
    }


def groups_for(
    gt: GroundTruth, groups: CategoryGroups | Mapping | None, subsets: Sequence[str], *, partial: bool = False
) -> CategoryGroups:
    """The groups that a ground truth is scored with.

    Args:
        groups, partial: see :func:`effowt_d2.evaluation.groups.choose_groups`.
        subsets: the subsets to score.

    Raises:
        ValueError: the groups are wrong, or a subset needs some and there are none.
    """
    chosen = choose_groups(groups, gt.open_world, gt.file, gt.categories, partial=partial)
    if chosen is not None:
        return chosen
    need = [subset for subset in subsets if subset != "all"]
    if need:
        names = ", ".join(sorted(set(gt.categories.values()))[:12]) or "none"
        raise ValueError(
            f"{gt.file}: no known categories are defined, but the subsets {', '.join(need)} need them: the file "
            "has no 'open_world' groups and its categories are not TAO's. Give the known ones by name or id "
            "(DATA.CLASSES, evaluate_tao_ow.py --known, groups={'known': [...]}), or score the subset 'all' alone; "
            f"the file's {len(gt.categories)} categories are {names}"
        )
    return CategoryGroups(frozenset())


def check_limits(max_detections: int, workers: int) -> None:
    """Raise ValueError unless both are integers from 0 on."""
    for name, value, zero in (("max_detections", max_detections, "no limit"), ("workers", workers, "one per core")):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be an integer from 0 ({zero}) on, got {value!r}")


def format_table(scores: Mapping[str, Mapping]) -> str:
    """A text table of the number of objects, OWTA, D.Re and A.Acc per subset.

    Args:
        scores: what :func:`evaluate_tao_ow` returned.
    """
    names = ("OWTA", "D.Re", "A.Acc")
    rows = [[subset, score["objects"], *(score[name] for name in names)] for subset, score in scores.items()]
    return tabulate(rows, headers=["subset", "objects", *names], floatfmt=".2f", tablefmt="pipe")


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
    # a daemonic process, such as a data loader's worker, may not start others
    if num_results < SMALL or multiprocessing.current_process().daemon:
        return 1
    if workers:
        return workers
    # the cores this process may use, if the system reports them
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(videos: list[VideoScore]) -> dict:
    curves = combine_videos(videos)
    report: dict[str, Any] = {
        name: 100 * float(np.mean(curves[key]))
        for name, key in (("OWTA", "OWTA"), ("D.Re", "DetRe"), ("A.Acc", "AssA"))
    }
    report["per_alpha"] = {name: curve.tolist() for name, curve in curves.items()}
    return report
