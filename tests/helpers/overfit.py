"""Trackers trained on a few clips and tested on the same ones, in closed loop."""

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.engine import OpenWorldTrainer, check_config

from .tiny_clip import register_clips, vit
from .tiny_trackers import tracker_config


def overfit(architecture: str, method: str, clips: Sequence, folder: Path, **options) -> tuple:
    """Train on clips: crops of 32 and 64 pixels in a random frozen tower of width 64, depth 3 and patches of 8.

    Args:
        architecture: the meta-architecture; its package has its name in small letters.
        method: ``MODEL.PEFT.METHOD``.
        clips: of :mod:`sot.data.made_clips`.
        folder: for the clips and the run.
        **options: further keys, with ``__`` for the dots.

    Returns:
        The config and the trained model. The dataset ``overfit`` stays registered; :func:`forget` removes it.
    """
    # projects, which helpers of the package's own tests do without
    from sot.data.catalog import register_sequences
    from sot.data.layouts import read_layout
    from sot.data.made_clips import WRITERS

    WRITERS.get("got10k")(folder / "clips", clips)
    register_sequences("overfit", lambda: read_layout("got10k", folder / "clips"))
    register_clips(folder, {"tiny-vit-8": vit(layers=3, patch_size=8)})
    given = {
        "MODEL__PEFT__METHOD": method,
        "MODEL__PEFT__RANK": 8,
        "MODEL__VLM__STRIDE": 8,
        "DATASETS__TRAIN": ("overfit",),
        "DATASETS__TEST": ("overfit",),
        "OUTPUT_DIR": str(folder / "run"),
        "SOLVER__IMS_PER_BATCH": 16,
        "SOLVER__LR_SCHEDULER_NAME": "warmup_cosine_sot",
        "SOLVER__WARMUP_ITERS": 10,
        "SOLVER__CHECKPOINT_PERIOD": 5000,
        "TEST__EVAL_PERIOD": 0,
        "TEST__SOT__CONVENTION": "pytracking",
        "INPUT__SOT__JITTER_SCALE": 0.1,
        "INPUT__SOT__JITTER_SHIFT": 1.0,
        "INPUT__SOT__AUGMENT": False,
    }
    cfg = tracker_config(architecture.lower(), architecture, "tiny-vit-8", **{**given, **options})
    check_config(cfg, eval_only=False, num_processes=1)
    # the tower has no weights: the same random ones every time
    torch.manual_seed(0)
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    return cfg, trainer.model


def closed_loop(cfg, model) -> float:
    """Success AUC in percent on the clips."""
    return OpenWorldTrainer.test(cfg, model)["one_pass"]["AUC"]


def forget() -> None:
    """Remove the dataset, after success or failure."""
    if "overfit" in DatasetCatalog.list():
        DatasetCatalog.remove("overfit")
        MetadataCatalog.remove("overfit")
