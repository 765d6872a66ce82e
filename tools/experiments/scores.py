"""Scores of a run, from the files in its folder."""

import json
import os
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from effowt_d2.evaluation import evaluate_tao_ow

from .table import SCORES

__all__ = ["ScoresMissing", "expected_steps", "place_of", "score_results", "training_scores"]


class ScoresMissing(Exception):
    """A run that ended well has not left the scores it should have."""


def expected_steps(cfg: CfgNode) -> list[int]:
    """After how many steps a training with this config is evaluated; the last is its end."""
    period, end = cfg.TEST.EVAL_PERIOD, cfg.SOLVER.MAX_ITER
    return [*(range(period, end, period) if period > 0 else ()), end]


def training_scores(folder: Path, cfg: CfgNode) -> dict[int, dict[str, float]]:
    """Scores by step, from ``metrics.json``.

    Args:
        folder: of the run.
        cfg: its config, with one test dataset.

    Returns:
        Percent, by the names of ``table.SCORES``, for each of :func:`expected_steps`.

    Raises:
        ScoresMissing: some are not there, as after a kill during an evaluation.
    """
    end = cfg.SOLVER.MAX_ITER
    found = {}
    file = folder / "metrics.json"
    for text in file.read_text().splitlines() if file.is_file() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # a line that a kill cut off
        if f"tao_ow/{SCORES[0]}" in line:
            # the evaluation at the end is written under the number of steps, the others under the last step's
            step = min(line["iteration"] + 1, end)
            found[step] = {name: line[f"tao_ow/{name}"] for name in SCORES}
    missing = [step for step in expected_steps(cfg) if step not in found]
    if missing:
        raise ScoresMissing(f"metrics.json has no scores after step {', '.join(map(str, missing))}")
    return {step: found[step] for step in expected_steps(cfg)}


def place_of(dataset: str, home: str) -> Path:
    """The annotation file of a dataset below another folder than the one it is registered with.

    Args:
        dataset: a registered name.
        home: folder of the datasets; "" for the registered one.
    """
    file = Path(MetadataCatalog.get(dataset).json_file)
    if not home:
        return file
    return Path(home) / file.relative_to(Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser())


def score_results(folder: Path, cfg: CfgNode, truth: Path) -> dict[str, float]:
    """Scores of an evaluation alone, from the results that it wrote, in percent by the names of ``table.SCORES``.

    Args:
        folder: of the run.
        cfg: its config, with one test dataset.
        truth: the dataset's annotation file.

    Raises:
        ScoresMissing: there are no results.
    """
    dataset = cfg.DATASETS.TEST[0]
    results = folder / "inference" / dataset / "tao_ow_results.json"
    if not results.is_file():
        raise ScoresMissing(f"no results of {dataset} were written")
    limit = cfg.TEST.TAO_OW.MAX_DETECTIONS
    scores = evaluate_tao_ow(str(truth), str(results), max_detections=limit, workers=1)
    return {f"{name}-{subset}": scores[subset][name] for name, subset in (score.split("-") for score in SCORES)}
