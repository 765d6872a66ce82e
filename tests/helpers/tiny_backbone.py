"""The smallest side network on a tower."""

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from effowt_d2.modeling.backbone import EffOWTBackbone, build_effowt_backbone
from helpers.configs import plugin_config


def backbone_config(name: str, *options, **keys) -> CfgNode:
    """Config of it.

    Args:
        name: the tower, with random weights.
        *options: keys and values in turn, as on a command line.
        **keys: keys with ``__`` for the dots.
    """
    small = {
        "MODEL.VLM.NAME": name,
        "MODEL.VLM.ALLOW_RANDOM": True,
        "MODEL.VLM.CANVAS": 8,
        "MODEL.TRANSFER.OUT_CHANNELS": 32,
        "MODEL.SIDE.BLOCKS": [1, 1, 1],
        "MODEL.SIDE.SIM.GROUPS": 4,
        "MODEL.SIDE.SIM.RANGE": 8,
    }
    cfg = plugin_config(small, **keys)
    cfg.merge_from_list(list(options))
    return cfg


def tiny_backbone(name: str, *options, **keys) -> EffOWTBackbone:
    """Build it, from seed 0."""
    torch.manual_seed(0)
    return build_effowt_backbone(backbone_config(name, *options, **keys), ShapeSpec(channels=3))
