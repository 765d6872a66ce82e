"""LoRAT in the plugin's trainer: training, checkpoints, resuming and one-pass evaluation; learning to follow (slow)."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny_trackers import tracker_config
from sot.data.catalog import register_sequences
from sot.data.layouts import read_layout
from sot.data.made_clips import WRITERS, make_clips

from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer
from effowt_d2.engine import OpenWorldTrainer, check_config


def config(tiny, name, output, **options):
    given = {
        "DATASETS__TRAIN": (name,),
        "DATASETS__TEST": (name,),
        "OUTPUT_DIR": str(output),
        "SOLVER__MAX_ITER": 3,
        "SOLVER__LR_SCHEDULER_NAME": "warmup_cosine_sot",
        "SOLVER__WARMUP_ITERS": 1,
        "SOLVER__CHECKPOINT_PERIOD": 2,
        "TEST__EVAL_PERIOD": 0,
    }
    return tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora", **{**given, **options})


def train(cfg, resume=False):
    check_config(cfg, eval_only=False, num_processes=1)
    # the tower has no weights: the same random ones every time
    torch.manual_seed(0)
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def test_training_evaluates_and_resumes_to_the_bit(tiny, made_dataset, tmp_path):
    cfg = config(tiny, made_dataset, tmp_path / "whole")
    whole = train(cfg)
    results = OpenWorldTrainer.test(cfg, whole.model)
    assert 0 <= results["one_pass"]["AUC"] <= 100
    folder = tmp_path / "whole" / "inference" / made_dataset
    assert len(np.loadtxt(folder / "boxes" / "LoRAT" / "rectangle-1.txt")) == 8
    assert json.loads((folder / "one_pass.json").read_text())["convention"] == "pytracking"
    train(config(tiny, made_dataset, tmp_path / "parts", SOLVER__MAX_ITER=3, DATASETS__TEST=()))
    (tmp_path / "parts" / "last_checkpoint").write_text("model_0000001.pth")
    resumed = train(config(tiny, made_dataset, tmp_path / "parts", DATASETS__TEST=()), resume=True)
    for (name, value), other in zip(whole.model.state_dict().items(), resumed.model.state_dict().values()):
        assert value.equal(other), name


def test_a_checkpoint_holds_what_trains(tiny, made_dataset, tmp_path):
    trainer = train(config(tiny, made_dataset, tmp_path, DATASETS__TEST=(), SOLVER__MAX_ITER=1))
    stored = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    trained = {name for name, parameter in trainer.model.named_parameters() if parameter.requires_grad}
    assert set(stored) == trained
    other = config(tiny, made_dataset, tmp_path / "other", MODEL__PEFT__RANK=2)
    with pytest.raises(CheckpointError):
        EffOWTCheckpointer(OpenWorldTrainer.build_model(other), str(tmp_path)).load(str(tmp_path / "model_final.pth"))


@pytest.mark.slow
def test_learning_to_follow_one_clip(tiny, tmp_path):
    """The specification's overfit: closed-loop success AUC above 0.70 after 800 steps on a random frozen tower."""
    WRITERS.get("got10k")(tmp_path / "clip", make_clips(1, frames=24))
    register_sequences("lorat_overfit", lambda: read_layout("got10k", tmp_path / "clip"))
    try:
        cfg = config(
            tiny,
            "lorat_overfit",
            tmp_path / "out",
            SOLVER__MAX_ITER=800,
            SOLVER__BASE_LR=4e-3,
            SOLVER__WARMUP_ITERS=10,
            SOLVER__IMS_PER_BATCH=16,
            SOLVER__CHECKPOINT_PERIOD=1000,
            INPUT__SOT__JITTER_SCALE=0.1,
            INPUT__SOT__JITTER_SHIFT=1.0,
            INPUT__SOT__AUGMENT=False,
        )
        results = OpenWorldTrainer.test(cfg, train(cfg).model)
    finally:
        DatasetCatalog.remove("lorat_overfit")
        MetadataCatalog.remove("lorat_overfit")
    assert results["one_pass"]["AUC"] > 70, results
