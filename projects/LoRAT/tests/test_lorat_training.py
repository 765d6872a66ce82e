"""LoRAT in the plugin's trainer: training, checkpoints, resuming and one-pass evaluation."""

import json

import numpy as np
import pytest
import torch
from helpers.tiny_trackers import tracker_config

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
