"""A video model of two layers, or none, for tests of what is around a model; importing registers its kinds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from detectron2.utils.env import seed_all_rng
from torch import Tensor, nn

from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.modeling.meta_arch import VideoState, build_tracker
from effowt_d2.utils.boxes import xywh_to_xyxy
from helpers.configs import plugin_config

torch.set_num_threads(1)  # more than one only wait for each other at this size


class DummyModel(nn.Module):
    """Takes frames and gives tracks as OpenWorldTracker does; a kind says what is in an image by ``find``.

    Attributes:
        built: how many there have been.
        on_frame: by frame index, what is called before the frame is looked at.
    """

    built: ClassVar[int] = 0
    on_frame: ClassVar[dict[int, Callable[[], None]]] = {}

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        type(self).built += 1
        self.tracker = build_tracker(cfg.TRACKER)

    def start(self, **about) -> VideoState:
        return VideoState(self.tracker, **about)

    def start_video(self, x: dict, numbers: Iterator[int]) -> VideoState:
        return self.start(frame_rate=x.get("frame_rate"), numbers=numbers)

    def step(self, state: VideoState, frames: list[dict]) -> tuple[VideoState, list[Instances]]:
        return state, [self.track(dict(frame, state=state)) for frame in frames]

    def associate(self, state: VideoState, instances: Instances, frame_index: int) -> Tensor:
        return state.associate(instances, frame_index)

    def forward(self, samples: list[dict]):
        if self.training:
            views = [view for sample in samples for view in (sample, sample["reference"])]
            return {"loss_cells": torch.stack([self.loss(view) for view in views]).mean()}
        return [{"instances": self.track(frame)} for frame in samples]

    def track(self, frame: dict) -> Instances:
        self.on_frame.get(frame["frame_index"], lambda: None)()
        height, width = frame["image"].shape[1:]
        boxes, scores, embeddings = self.find(frame["image"])
        found = Instances((frame["height"], frame["width"]), pred_boxes=Boxes(boxes), scores=scores)
        found.embeddings = embeddings
        found.track_ids = self.associate(frame["state"], found, frame["frame_index"])
        found.pred_boxes.scale(frame["width"] / width, frame["height"] / height)
        return found

    def find(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 4) boxes in the pixels of a (3, H, W) image, (N,) scores and (N, D) embeddings."""
        raise NotImplementedError


@META_ARCH_REGISTRY.register()
class CellTracker(DummyModel):
    """Scores 16-pixel cells by whether a box centre lies in them, which it learns; the best five become boxes."""

    drop = 0.0

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.cells = nn.Conv2d(3, 8, 16, stride=16)
        self.dropout = nn.Dropout(self.drop)
        self.score = nn.Conv2d(8, 1, 1)

    def features(self, image: Tensor) -> Tensor:
        return torch.relu(self.cells(image[None].float() / 255))

    def loss(self, view: dict) -> Tensor:
        scores = self.score(self.dropout(self.features(view["image"])))[0, 0]
        target = torch.zeros_like(scores)
        x, y = (view["instances"].gt_boxes.get_centers() / 16).long().unbind(1)
        target[y.clamp(max=target.shape[0] - 1), x.clamp(max=target.shape[1] - 1)] = 1
        return nn.functional.binary_cross_entropy_with_logits(scores, target)

    def find(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.features(image)
        values, place = self.score(features)[0, 0].flatten().topk(5)
        y, x = place // features.shape[-1], place % features.shape[-1]
        boxes = torch.stack([x * 16 - 4, y * 16 - 4, x * 16 + 20, y * 16 + 20], dim=1).float()
        return boxes, values.sigmoid(), features[0].flatten(1)[:, place].T


@META_ARCH_REGISTRY.register()
class DroppingCellTracker(CellTracker):
    """The same with dropout, which draws random numbers in every step."""

    drop = 0.3


@META_ARCH_REGISTRY.register()
class BlobTracker(DummyModel):
    """Finds bright connected areas: their mean colour is the embedding, their score the brightest channel."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.limit = nn.Parameter(torch.tensor(40.0))

    def find(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = image.permute(1, 2, 0).numpy()
        mask = (pixels.max(axis=2) > self.limit.item()).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = xywh_to_xyxy(torch.tensor(stats[1:, :4], dtype=torch.float32).reshape(-1, 4))
        means = np.array([pixels[parts == part].mean(axis=0) for part in range(1, count)], dtype=np.float32)
        means = torch.from_numpy(means.reshape(-1, 3))
        scores = means.amax(dim=1) / 255 if len(means) else torch.empty(0)
        return boxes, scores, nn.functional.normalize(means - means.mean(dim=1, keepdim=True)) * 5


def config(output_dir: Path, **options) -> CfgNode:
    """A config of a small run; ``options`` are keys with ``__`` for the dots."""
    keys = {
        "MODEL.META_ARCHITECTURE": "CellTracker",
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
    }
    return plugin_config(keys, **options)


def train(cfg: CfgNode, resume: bool = False) -> OpenWorldTrainer:
    """Run the trainer in this process as train_net.py would, and return it."""
    seed_all_rng(cfg.SEED)
    trainer = OpenWorldTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer
