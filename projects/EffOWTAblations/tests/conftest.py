"""A tiny tower, and backbones with the controls on it."""

import effowt_ablations
import pytest
import torch
from detectron2.layers import ShapeSpec
from helpers.configs import plugin_config, set_keys
from helpers.tiny_clip import register_clips, vit

from effowt_d2.modeling.backbone import build_effowt_backbone


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 4, heads 4, patch 16, grid 4 x 4."""
    register_clips(tmp_path_factory.mktemp("open_clip_configs"), {"tiny-vit": vit()})
    return "tiny-vit"


@pytest.fixture
def build(tiny):
    """Builds a small backbone from keys and values below MODEL, such as ``build("SIDE.GATE.KIND", "sum")``."""

    def build(*options, name=tiny):
        cfg = plugin_config()
        effowt_ablations.add_config(cfg)
        small = {
            "VLM.NAME": name,
            "VLM.ALLOW_RANDOM": True,
            "VLM.CANVAS": 8,
            "TRANSFER.OUT_CHANNELS": 32,
            "SIDE.BLOCKS": [1, 1, 1],
            "SIDE.WINDOWS": [4, 4, 0],
            "SIDE.SIM.GROUPS": 4,
            "SIDE.SIM.RANGE": 8,
        }
        keys = {**small, **dict(zip(options[::2], options[1::2]))}
        set_keys(cfg, {f"MODEL.{key}": value for key, value in keys.items()})
        torch.manual_seed(0)
        return build_effowt_backbone(cfg, ShapeSpec(channels=3))

    return build
