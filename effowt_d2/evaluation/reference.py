"""The same scores from the trackeval package: slower, used as the reference."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Mapping

import numpy as np

from .groups import choose_groups

__all__ = ["evaluate_with_trackeval"]


def evaluate_with_trackeval(
    gt_json: str,
    results_json: str,
    subset: str = "all",
    max_detections: int = 300,
    *,
    groups: Mapping | None = None,
) -> dict[str, np.ndarray]:
    """Run trackeval's TAO_OW dataset and HOTA metric on one subset.

    Args:
        gt_json: path of the ground truth.
        results_json: path of the results.
        subset: "all", "known", "unknown" or "distractor": trackeval's own, by TAO's category ids, or those of
            ``groups`` or of the ground truth file ("open_world"), which trackeval then gets as a file of that group
            alone.
        max_detections: results kept per image; 0 keeps all.
        groups: known and distractor categories, ids or names; None: the file's.

    Returns:
        "OWTA", "DetRe" and "AssA", each 19 fractions.
    """
    from trackeval.datasets import TAO_OW
    from trackeval.eval import eval_sequence
    from trackeval.metrics import HOTA

    metric = HOTA()
    # trackeval finds its files by folder and prints what it does
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        gt_json, subset = _own_group(gt_json, subset, folder, groups)
        dataset = TAO_OW(
            {
                "GT_FOLDER": _folder_with(gt_json, folder, "gt"),
                "TRACKERS_FOLDER": os.path.join(folder, "trackers"),
                "TRACKERS_TO_EVAL": [_tracker_with(results_json, folder)],
                "SUBSET": subset,
                "MAX_DETECTIONS": max_detections,
                "PRINT_CONFIG": False,
            }
        )
        (tracker,), videos, classes = dataset.get_eval_info()
        scores = {
            video: eval_sequence(video, dataset, tracker, classes, [metric], ["HOTA"])["object"]["HOTA"]
            for video in sorted(videos)
        }
    combined = metric.combine_sequences(scores)
    return {name: combined[name] for name in ("OWTA", "DetRe", "AssA")}


def _own_group(gt_json: str, subset: str, folder: str, groups: Mapping | None) -> tuple[str, str]:
    """A file with the subset's annotations, tracks and categories only, where the groups are the file's own."""
    with open(gt_json, encoding="utf-8") as file:
        data = json.load(file)
    if subset == "all" or (groups is None and "open_world" not in data):
        return gt_json, subset
    ids = np.array([category["id"] for category in data["categories"]])
    names = {category["id"]: category["name"] for category in data["categories"]}
    chosen = choose_groups(groups, data.get("open_world"), gt_json, names)
    if chosen is None:
        raise ValueError(f"{gt_json}: no groups are defined, but the subset '{subset}' needs them")
    kept = set(ids[chosen.members(subset, ids)].tolist())
    for name, field in (("annotations", "category_id"), ("tracks", "category_id"), ("categories", "id")):
        data[name] = [entry for entry in data[name] if entry[field] in kept]
    path = os.path.join(folder, "group.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file)
    return path, "all"


def _folder_with(file: str, parent: str, name: str) -> str:
    folder = os.path.join(parent, name)
    os.makedirs(folder)
    os.symlink(os.path.abspath(file), os.path.join(folder, "file.json"))
    return folder


def _tracker_with(results_json: str, parent: str) -> str:
    _folder_with(results_json, parent, os.path.join("trackers", "ours", "data"))
    return "ours"
