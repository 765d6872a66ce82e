"""Small models for the checkpoint tests: tiny towers, and a whole OpenWorldTracker on one."""

import json

import open_clip
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from torch import nn

import effowt_d2  # noqa: F401  (registers)
from effowt_d2 import add_effowt_config
from effowt_d2.modeling.tower import build_tower

TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1}


@pytest.fixture(scope="session", autouse=True)
def tiny_towers(tmp_path_factory):
    """``checkpoint-a`` and ``checkpoint-b``, which differ in name only."""
    folder = tmp_path_factory.mktemp("open_clip")
    vision = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    for name in ("checkpoint-a", "checkpoint-b"):
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": TEXT}))
    open_clip.add_model_config(folder)


class SmallModel(nn.Module):
    """A tower with something trained beside it, parameters and buffers."""

    def __init__(self, tower: nn.Module, width: int = 8):
        super().__init__()
        self.tower = tower
        self.head = nn.Sequential(nn.Linear(64, width), nn.BatchNorm1d(width))

    def forward(self, images):
        return self.head(self.tower(images)[-1].mean(dim=(2, 3)))


@pytest.fixture
def make_small():
    """make_small(seed of the head, tower_seed=0, name="checkpoint-a", frozen=True, width=8)."""

    def make(seed=0, *, tower_seed=0, name="checkpoint-a", frozen=True, width=8):
        torch.manual_seed(tower_seed)
        tower = build_tower(name, "", allow_random=True, canvas=4, frozen=frozen)
        torch.manual_seed(seed)
        return SmallModel(tower, width)

    return make


@pytest.fixture
def tracker_config():
    """A whole OpenWorldTracker with the smallest heads."""
    cfg = get_cfg()
    add_effowt_config(cfg)
    model = cfg.MODEL
    model.DEVICE, model.META_ARCHITECTURE, model.MASK_ON = "cpu", "OpenWorldTracker", False
    model.BACKBONE.NAME = "build_effowt_backbone"
    model.VLM.NAME, model.VLM.ALLOW_RANDOM, model.VLM.CANVAS = "checkpoint-a", True, 8
    model.TRANSFER.OUT_CHANNELS = 16
    model.SIDE.BLOCKS, model.SIDE.TAPS = [1, 1, 1], [0, 1, 1]
    model.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    model.PROPOSAL_GENERATOR.NAME, model.RPN.HEAD_NAME = "MaskedRPN", "MaskedRPNHead"
    model.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    model.RPN.POST_NMS_TOPK_TEST = 20
    heads, box, reid = model.ROI_HEADS, model.ROI_BOX_HEAD, model.REID
    heads.NAME, heads.NUM_CLASSES, heads.IN_FEATURES = "OpenWorldROIHeads", 1, ["p2", "p3", "p4", "p5"]
    heads.SCORE_THRESH_TEST = 0.0
    box.NAME, box.CLS_AGNOSTIC_BBOX_REG, box.NUM_FC, box.FC_DIM = "OpenWorldBoxHead", True, 1, 16
    box.POOLER_RESOLUTION = 7
    reid.NUM_CONV, reid.CONV_DIM, reid.NUM_GROUPS, reid.FC_DIM, reid.DIM = 1, 16, 4, 16, 8
    return cfg


@pytest.fixture
def make_tracker(tracker_config):
    def make(seed):
        torch.manual_seed(0)
        tower = build_tower("checkpoint-a", "", allow_random=True, canvas=8)
        torch.manual_seed(seed)
        model = build_model(tracker_config)
        model.backbone.tower.load_state_dict(tower.state_dict())
        return model.eval()

    return make
