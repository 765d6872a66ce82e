"""Checks before long work starts."""

import difflib
import os
import tempfile

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from effowt_d2.data.loaders import find_loader
from effowt_d2.data.mappers import find_mapper
from effowt_d2.modeling.meta_arch import build_tracker
from effowt_d2.modeling.peft import build_peft
from effowt_d2.modeling.tower.builder import find_weights
from effowt_d2.modeling.tower.precision import PRECISIONS
from effowt_d2.modeling.transfer.strategy import strategy_class, transfer_of
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_choice, check_count

from .evaluators import find_evaluator
from .launch import check_processes, started_by_torchrun

__all__ = ["check_config"]


def check_config(cfg: CfgNode, *, eval_only: bool, num_processes: int, num_machines: int = 1) -> None:
    """Check names and places of a config, without loading anything.

    Args:
        cfg: the whole config.
        eval_only: no training follows, so the training datasets do not matter.
        num_processes: on this machine; under torchrun neither this nor the next is used.
        num_machines: with that many processes each.

    Raises:
        ValueError: a dataset is not registered, or there is none; an unknown evaluator, mapper, tower, strategy, PEFT
            method or part of a side network; a wrong setting of the tracker or of ``TEST``; more processes than GPUs, or a
            number of them that does not divide a batch; a tower without weights.
        FileNotFoundError: ``MODEL.WEIGHTS`` or ``MODEL.VLM.WEIGHTS`` names a file that isn't there.
        PermissionError: ``OUTPUT_DIR`` cannot be written.
    """
    check_processes(num_processes, cfg.MODEL.DEVICE, num_machines)
    if eval_only and not cfg.DATASETS.TEST:
        raise ValueError("DATASETS.TEST is empty: --eval-only has nothing to evaluate on")
    if not eval_only and not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: there is nothing to train on")
    registered = DatasetCatalog.list()
    for name in (*cfg.DATASETS.TEST, *(() if eval_only else cfg.DATASETS.TRAIN)):
        if name not in registered:
            similar = ", ".join(difflib.get_close_matches(name, registered, n=8, cutoff=0))
            raise ValueError(f"dataset '{name}' is not registered; of {len(registered)} the most similar are {similar}")
    for name in cfg.DATASETS.TEST:
        find_evaluator(name)
    if not eval_only:
        find_loader(cfg)
        find_mapper(cfg)
    weights = cfg.MODEL.WEIGHTS
    if weights and "://" not in weights and not os.path.isfile(weights.split("?")[0]):
        raise FileNotFoundError(f"MODEL.WEIGHTS {weights}: no such file")
    _check_model(cfg)
    check_choice("TEST.PRECISION", cfg.TEST.PRECISION, PRECISIONS)
    check_count("TEST.FRAMES_PER_BATCH", cfg.TEST.FRAMES_PER_BATCH)
    if not eval_only:
        world_size = int(os.environ["WORLD_SIZE"]) if started_by_torchrun() else num_processes * num_machines
        _check_batch(cfg.SOLVER.IMS_PER_BATCH, world_size, cfg.SOLVER.REFERENCE_WORLD_SIZE)
    _check_writable(cfg.OUTPUT_DIR)


def _check_model(cfg: CfgNode) -> None:
    """Checks of a model's config before it is built."""
    if cfg.MODEL.BACKBONE.NAME == "build_effowt_backbone":
        strategy_class(cfg).chosen_parts(cfg)
        build_peft(cfg, transfer_of(cfg).method)
        with config_keys("MODEL.VLM"):
            find_weights(cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS, allow_random=cfg.MODEL.VLM.ALLOW_RANDOM)
    if cfg.MODEL.META_ARCHITECTURE == "OpenWorldTracker":
        build_tracker(cfg.TRACKER)


def _check_batch(batch_size: int, world_size: int, reference: int) -> None:
    sharing = reference or world_size  # with a reference, the batch grows and shrinks with the processes
    if batch_size < 1 or batch_size % sharing:
        whose = "processes" if sharing == world_size else "processes (SOLVER.REFERENCE_WORLD_SIZE)"
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}, which {sharing} {whose} cannot share equally; "
            f"it can be {sharing}, {2 * sharing}, {3 * sharing}, ..."
        )


def _check_writable(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # a full disk still takes an empty file
            file.write(bytes(4096))
    except OSError as error:
        raise PermissionError(f"OUTPUT_DIR {folder} cannot be written: {error.strerror}") from error
