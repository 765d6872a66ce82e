"""A user's first hour: a project of their own on a stock config, and the project shipped as an example."""

import argparse
import importlib.util
import json
import logging
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import ROOT, small_shapes
from helpers.processes import run_python

SHIPPED = ROOT / "projects" / "MaskRCNNShapes"

PROJECT = """
import json
from pathlib import Path
import cv2
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultPredictor, DefaultTrainer
from effowt_d2 import add_effowt_config
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images
from effowt_d2.data.shapes_ow import ImageSplit

split = ImageSplit(count=8, size=128, objects=(1, 3), radii=(14.0, 26.0), unlabelled=0.0)
DatasetCatalog.register("shapes", lambda: load_shapes_ow_images(split, Path("shapes")))
MetadataCatalog.get("shapes").set(thing_classes=["object"])

cfg = get_cfg()
add_effowt_config(cfg)
cfg.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
cfg.MODEL.BACKBONE.NAME, cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = "build_effowt_backbone", "", "cpu"
cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS = "ShapesCLIP-S-16", "effowt://ShapesCLIP-S-16"
cfg.MODEL.TRANSFER.OUT_CHANNELS, cfg.MODEL.ROI_MASK_HEAD.CONV_DIM = 64, 64
cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 1, 32
cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST, cfg.TEST.DETECTIONS_PER_IMAGE = 0.0, 5
cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("shapes",), ()
cfg.INPUT.MASK_FORMAT, cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = "bitmask", (128,), 128
cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = 2, 0.02, 20, 5
cfg.SOLVER.STEPS, cfg.DATALOADER.NUM_WORKERS, cfg.SEED, cfg.OUTPUT_DIR = (), 0, 1, "output"

trainer = DefaultTrainer(cfg)
trainer.train()
EffOWTCheckpointer(trainer.model, "output").save("small")

cfg.MODEL.WEIGHTS = "output/model_final.pth"
predictor = DefaultPredictor(cfg)
small = trainer.build_model(cfg)
EffOWTCheckpointer(small).load("output/small.pth")
image = cv2.imread(DatasetCatalog.get("shapes")[0]["file_name"])
found = {}
for name, model in {"trained": trainer.model, "reloaded": predictor.model, "small": small}.items():
    predictor.model = model.eval()
    instances = predictor(image)["instances"]
    found[name] = [instances.pred_boxes.tensor.tolist(), instances.scores.tolist(), list(instances.pred_masks.shape)]
json.dump(found, open("found.json", "w"))
"""


def test_a_project_of_ones_own(tmp_path):
    (tmp_path / "project.py").write_text(PROJECT)
    run_python("project.py", cwd=tmp_path)
    metrics = json.loads((tmp_path / "output/metrics.json").read_text().splitlines()[-1])
    assert metrics["iteration"] == 19
    # two classes: it starts at ln 2 = 0.69
    assert metrics["loss_cls"] < 0.5, metrics
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["reloaded"] == found["small"] == found["trained"]
    boxes, scores, masks = found["trained"]
    assert masks == [5, 128, 128] and len(boxes) == len(scores) == 5
    sizes = [(tmp_path / "output" / file).stat().st_size for file in ("model_final.pth", "small.pth")]
    assert sizes[0] - sizes[1] > 10_000_000, sizes


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """(module of the shipped project's script, its config for small data, result of three steps and evaluation)."""
    specification = importlib.util.spec_from_file_location("mask_rcnn_shapes", SHIPPED / "train_net.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with small_shapes.registered(tmp_path_factory.mktemp("datasets")):
        module.register_masks("small_val")
        options = "SOLVER.MAX_ITER 3 SOLVER.WARMUP_ITERS 1 SOLVER.CHECKPOINT_PERIOD 3 INPUT.MIN_SIZE_TEST 128".split()
        options += ["DATASETS.TRAIN", "('small_train',)", "DATASETS.TEST", "('small_val_masks',)"]
        options += ["INPUT.MIN_SIZE_TRAIN", "(128,)", "OUTPUT_DIR", str(tmp_path_factory.mktemp("output"))]
        (config,) = (SHIPPED / "configs").glob("*.yaml")
        args = argparse.Namespace(config_file=str(config), opts=options, eval_only=False, resume=False, num_gpus=1)
        cfg = module.setup(args)
        module.main(args, cfg)
        yield module, cfg, args, last_scores(cfg)
        for name in ("small_val_masks", "shapes_ow_val_masks"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    # the script sends the logs to its terminal and file only, where later tests would not see them
    for name in ("fvcore", "detectron2", "effowt_d2"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def last_scores(cfg):
    lines = [json.loads(line) for line in (Path(cfg.OUTPUT_DIR) / "metrics.json").read_text().splitlines()]
    return {name: value for name, value in lines[-1].items() if "/AP" in name}


def test_the_shipped_project_trains_and_scores_masks(shipped):
    _, cfg, _, scores = shipped
    assert scores["bbox/AP"] > 0 and 0 <= scores["segm/AP"] <= 100
    truth = json.loads((Path(cfg.OUTPUT_DIR) / "inference/small_val_masks_coco_format.json").read_text())
    assert len(truth["images"]) == 3 and truth["annotations"][0]["segmentation"]["counts"]
    stored = torch.load(Path(cfg.OUTPUT_DIR) / "model_final.pth", weights_only=True)
    assert not any(key.startswith("backbone.tower.") for key in stored["model"])


def test_the_shipped_project_evaluates_what_it_saved(shipped):
    module, cfg, args, scores = shipped
    DatasetCatalog.remove("shapes_ow_val_masks")
    args.eval_only, args.resume = True, True
    again = module.main(args, cfg)
    assert scores == pytest.approx({f"{t}/{n}": x for t, v in again.items() for n, x in v.items()}, nan_ok=True)
