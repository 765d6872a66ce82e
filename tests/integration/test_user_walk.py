"""A user's first hour: a project of their own on a stock config."""

import json

from helpers.processes import run_python

PROJECT = """
import json
from pathlib import Path
import cv2
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import DefaultPredictor, DefaultTrainer
from detectron2.utils.env import seed_all_rng
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
cfg.SOLVER.STEPS, cfg.DATALOADER.NUM_WORKERS, cfg.SEED, cfg.OUTPUT_DIR = (), 0, 2, "output"

seed_all_rng(cfg.SEED)
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
    # two classes: it starts at ln 2 = 0.69; four seeds with Detectron2 v0.6 and with main end at 0.25 to 0.35, seed 1 of main at 0.67
    assert metrics["loss_cls"] < 0.5, metrics
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["reloaded"] == found["small"] == found["trained"]
    boxes, scores, masks = found["trained"]
    assert masks == [5, 128, 128] and len(boxes) == len(scores) == 5
    sizes = [(tmp_path / "output" / file).stat().st_size for file in ("model_final.pth", "small.pth")]
    assert sizes[0] - sizes[1] > 10_000_000, sizes
