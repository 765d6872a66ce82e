"""The project is trained and evaluated by train_net.py: its config names what to import."""

import argparse
import json
import logging
from pathlib import Path

import mask_rcnn_shapes
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import small_shapes

import train_net

CONFIG = Path(__file__).parents[1] / "configs" / "mask_rcnn_shapes_clip_s16.yaml"
OPTIONS = {
    "SOLVER.MAX_ITER": 3,
    "SOLVER.WARMUP_ITERS": 1,
    "SOLVER.CHECKPOINT_PERIOD": 3,
    "INPUT.MIN_SIZE_TRAIN": (128,),
    "INPUT.MIN_SIZE_TEST": 128,
    "DATASETS.TRAIN": ("small_train",),
    "DATASETS.TEST": ("small_val_masks",),
}


def run(output, *, eval_only):
    options = [str(item) for pair in {**OPTIONS, "OUTPUT_DIR": output}.items() for item in pair]
    choice = dict(eval_only=eval_only, resume=eval_only, num_gpus=1, num_machines=1, register=[])
    args = argparse.Namespace(config_file=str(CONFIG), opts=options, **choice)
    cfg = train_net.setup(args)
    return cfg, train_net.main(args, cfg)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Config and output folder of three steps and an evaluation."""
    output = tmp_path_factory.mktemp("output")
    with small_shapes.registered(tmp_path_factory.mktemp("datasets")):
        mask_rcnn_shapes.register_masks("small_val")
        cfg, _ = run(output, eval_only=False)
        yield cfg, output
        DatasetCatalog.remove("small_val_masks")
        MetadataCatalog.remove("small_val_masks")
    # the script sends the logs to its terminal and file only, where later tests would not see them
    for name in ("fvcore", "detectron2", "effowt_d2"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def last_scores(output):
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    return {name: value for name, value in lines[-1].items() if "/AP" in name}


def test_it_trains_and_scores_masks(trained):
    _, output = trained
    scores = last_scores(output)
    assert scores["bbox/AP"] > 0 and 0 <= scores["segm/AP"] <= 100
    (truth,) = (output / "inference" / "small_val_masks").glob("*_coco_format.json")
    truth = json.loads(truth.read_text())
    assert len(truth["images"]) == 3 and truth["annotations"][0]["segmentation"]["counts"]
    stored = torch.load(output / "model_final.pth", weights_only=True)
    assert any("mask_head" in key for key in stored["model"])
    assert not any(key.startswith("backbone.tower.") for key in stored["model"])


def test_it_evaluates_what_it_saved(trained):
    _, output = trained
    _, again = run(output, eval_only=True)
    found = {f"{task}/{name}": value for task, scores in again.items() for name, value in scores.items()}
    assert found == pytest.approx(last_scores(output), nan_ok=True)


def test_the_config_of_the_run_loads_again(trained):
    cfg, output = trained
    again = train_net.make_config(str(output / "config.yaml"))
    # as text, in which a tuple is a list
    assert json.dumps(again) == json.dumps(cfg) and again.IMPORTS == ("mask_rcnn_shapes",)
