"""Checks of the test datasets before training."""

import logging

from detectron2.config import CfgNode

from effowt_d2.data.exclusion import ExclusionList
from effowt_d2.data.image_files import check_readable, require_files
from effowt_d2.data.labels import configured_groups
from effowt_d2.data.loaders import load_frame_records
from effowt_d2.data.mappers import FrameMapper
from effowt_d2.data.summary import anomalies, describe
from effowt_d2.data.video_sampler import VideoBatches
from effowt_d2.evaluation import TAOOWEvaluator
from effowt_d2.evaluation.ground_truth import load_ground_truth
from effowt_d2.formats.missing import are_missing
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.main_process import on_main_process

from .evaluators import build_evaluator
from .step import inference_autocast

__all__ = ["check_test_datasets"]

logger = logging.getLogger(__name__)


def check_test_datasets(cfg: CfgNode) -> None:
    """Read every ``DATASETS.TEST`` and the settings of evaluation once, so that what is wrong is known before training
    and not after it. The main process does the work and logs what it found; all processes call this together.

    Raises:
        FileNotFoundError, ValueError, OSError: names what is missing or wrong.
    """
    configured_groups(cfg)
    if cfg.DATASETS.TEST:
        inference_autocast(cfg)
        with config_keys("TEST"):
            VideoBatches([], frames_per_batch=cfg.TEST.FRAMES_PER_BATCH)
        FrameMapper(cfg)
    on_main_process(lambda: _check_all(cfg))


def _check_all(cfg: CfgNode) -> None:
    records = [record for name in cfg.DATASETS.TEST for record in _check_dataset(cfg, name)]
    unused = ExclusionList(cfg.DATA.EXCLUSION_LIST).unused(records)
    if unused:
        logger.warning("%s; misspelt names exclude nothing (DATA.EXCLUSION_LIST)", unused)


def _check_dataset(cfg: CfgNode, name: str) -> list[dict]:
    videos = load_frame_records(name)
    records = [frame for frames in videos for frame in frames]
    evaluator = build_evaluator(cfg, name)
    existing = require_files(
        name, records, are_missing([record["file_name"] for record in records]), skip=cfg.DATA.SKIP_MISSING
    )
    check_readable(existing, cfg.INPUT.FORMAT)
    _check_rates(cfg, name, videos)
    if isinstance(evaluator, TAOOWEvaluator):
        _report(evaluator, name)
    return records


def _report(evaluator: TAOOWEvaluator, name: str) -> None:
    dataset = evaluator.read_ground_truth()
    groups = evaluator.choose_groups(load_ground_truth(dataset)) if dataset.annotations else None
    logger.info(describe(name, dataset, groups))
    if not dataset.annotations:
        logger.warning("dataset '%s' has no annotations: its results are written, not scored", name)
    for oddity in anomalies(dataset):
        logger.warning("dataset '%s': %s", name, oddity)


def _check_rates(cfg: CfgNode, name: str, videos: list[list[dict]]) -> None:
    if cfg.TRACKER.MEMORY_SECONDS is None:
        return
    if not all("frame_rate" in frames[0] for frames in videos if "video_id" in frames[0]):
        raise ValueError(
            f"TRACKER.MEMORY_SECONDS is {cfg.TRACKER.MEMORY_SECONDS}, but dataset '{name}' has no frame "
            "rate of its videos (see docs/tracking.md); set TRACKER.MEMORY_FRAMES instead"
        )
