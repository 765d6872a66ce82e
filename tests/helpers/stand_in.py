"""A model of two layers and a benchmark of a few pictures, for tests of the engine; importing registers both.

The datasets ``mini_train`` and ``mini_val`` are rendered below $MINI_SHAPES when they are first used.
"""

import os
from pathlib import Path

import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from detectron2.utils.env import seed_all_rng
from torch import nn

from effowt_d2 import add_effowt_config
from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images, load_shapes_ow_videos
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.tracking import build_tracker

torch.set_num_threads(1)  # more than one only wait for each other at this size

TRAIN = ImageSplit(count=7, size=96, objects=(2, 3), radii=(10.0, 20.0), unlabelled=0.0)
VAL = VideoSplit(videos=3, frames=4, size=96, objects=(2, 3), radii=(10.0, 20.0))


@META_ARCH_REGISTRY.register()
class CellTracker(nn.Module):
    """Scores 16-pixel cells by whether a box centre lies in them; the best five become boxes."""

    drop = 0.0

    def __init__(self, cfg):
        super().__init__()
        self.cells = nn.Conv2d(3, 8, 16, stride=16)
        self.dropout = nn.Dropout(self.drop)
        self.score = nn.Conv2d(8, 1, 1)
        self.tracker = build_tracker(cfg.TRACKER)

    def forward(self, samples):
        if self.training:
            views = [view for sample in samples for view in (sample, sample["reference"])]
            return {"loss_cells": torch.stack([self.loss(view) for view in views]).mean()}
        return [{"instances": self.track(frame)} for frame in samples]

    def features(self, image):
        return torch.relu(self.cells(image[None].float() / 255))

    def loss(self, view):
        scores = self.score(self.dropout(self.features(view["image"])))[0, 0]
        target = torch.zeros_like(scores)
        x, y = (view["instances"].gt_boxes.get_centers() / 16).long().unbind(1)
        target[y.clamp(max=target.shape[0] - 1), x.clamp(max=target.shape[1] - 1)] = 1
        return nn.functional.binary_cross_entropy_with_logits(scores, target)

    def track(self, frame):
        if frame["frame_index"] == 0:
            self.tracker.reset()
        features = self.features(frame["image"])
        values, place = self.score(features)[0, 0].flatten().topk(5)
        y, x = place // features.shape[-1], place % features.shape[-1]
        boxes = torch.stack([x * 16 - 4, y * 16 - 4, x * 16 + 20, y * 16 + 20], dim=1).float()
        instances = Instances((frame["height"], frame["width"]), pred_boxes=Boxes(boxes), scores=values.sigmoid())
        embeddings = features[0].flatten(1)[:, place].T
        instances.track_ids = self.tracker.update(boxes, instances.scores, embeddings, frame["frame_index"])
        instances.pred_boxes.scale(frame["width"] / frame["image"].shape[2], frame["height"] / frame["image"].shape[1])
        return instances


@META_ARCH_REGISTRY.register()
class DroppingCellTracker(CellTracker):
    """The same with dropout, which draws random numbers in every step."""

    drop = 0.3


def register(folder):
    """Register the two datasets below ``folder``, in place of those registered before."""
    for name in ("mini_train", "mini_val"):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
    train, val = Path(folder) / "train", Path(folder) / "val"
    DatasetCatalog.register("mini_train", lambda: load_shapes_ow_images(TRAIN, train))
    MetadataCatalog.get("mini_train").set(
        thing_classes=["object"], json_file=str(train / "annotations.json"), evaluator_type="coco"
    )
    DatasetCatalog.register("mini_val", lambda: load_shapes_ow_videos(VAL, val))
    MetadataCatalog.get("mini_val").set(json_file=str(val / "annotations_8.json"), evaluator_type="tao_ow")


def config(output_dir, **options):
    """A config of the stand-in; ``options`` are keys with ``__`` for the dots."""
    cfg = get_cfg()
    add_effowt_config(cfg)
    pairs = {
        "MODEL.META_ARCHITECTURE": "CellTracker",
        "MODEL.DEVICE": "cpu",
        "OUTPUT_DIR": str(output_dir),
        "SEED": 3,
        "DATASETS.TRAIN": ("mini_train",),
        "DATASETS.TEST": ("mini_val",),
        "DATALOADER.NUM_WORKERS": 0,
        "INPUT.MIN_SIZE_TRAIN": (64, 96),
        "INPUT.MIN_SIZE_TEST": 96,
        "INPUT.MAX_SIZE_TRAIN": 128,
        "SOLVER.IMS_PER_BATCH": 2,
        "SOLVER.MAX_ITER": 6,
        "SOLVER.STEPS": (),
        "SOLVER.BASE_LR": 0.01,
        "SOLVER.WARMUP_ITERS": 4,
        "SOLVER.CHECKPOINT_PERIOD": 3,
        "TEST.TAO_OW.WORKERS": 1,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    cfg.merge_from_list([item for pair in pairs.items() for item in pair])
    return cfg


def train(cfg, resume=False):
    """Run the trainer in this process as train_net.py would, and return it."""
    seed_all_rng(cfg.SEED)
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


if "MINI_SHAPES" in os.environ:
    register(os.environ["MINI_SHAPES"])
