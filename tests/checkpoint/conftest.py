"""Small models for the checkpoint tests: tiny towers, and a whole OpenWorldTracker on one."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers.configs import set_keys
from helpers.tiny_clip import register_clips, vit
from helpers.tiny_detector import tiny_config
from torch import nn

import effowt_d2  # noqa: F401  (registers)
from effowt_d2.modeling.tower import build_tower


@pytest.fixture(scope="session", autouse=True)
def tiny_towers(tmp_path_factory):
    """``checkpoint-a`` and ``checkpoint-b``, which differ in name only."""
    config = vit(layers=2, head_width=32)
    register_clips(tmp_path_factory.mktemp("open_clip"), {"checkpoint-a": config, "checkpoint-b": config})


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
    """A whole OpenWorldTracker on such a tower."""
    cfg = tiny_config(MODEL__BACKBONE__NAME="build_effowt_backbone")
    tower = {"MODEL.VLM.NAME": "checkpoint-a", "MODEL.VLM.ALLOW_RANDOM": True, "MODEL.VLM.CANVAS": 8}
    side = {"MODEL.TRANSFER.OUT_CHANNELS": 16, "MODEL.SIDE.BLOCKS": [1, 1, 1], "MODEL.SIDE.TAPS": [0, 1, 1]}
    return set_keys(cfg, {**tower, **side})


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
