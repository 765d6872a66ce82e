"""A tiny detector with an ordinary ResNet-FPN backbone, and inputs for it."""

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, ImageList, Instances

import effowt_d2  # noqa: F401  (registers)
from helpers.configs import plugin_config

CHANNELS = 32
LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}


def tiny_config(**overrides) -> CfgNode:
    """Config of the detector; overrides are keys with ``__`` for the dots."""
    keys = {
        "MODEL.WEIGHTS": "",
        "MODEL.META_ARCHITECTURE": "OpenWorldTracker",
        "MODEL.PIXEL_STD": [58.0, 58.0, 58.0],
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.BACKBONE.FREEZE_AT": 0,
        "MODEL.RESNETS.DEPTH": 50,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
        "MODEL.RESNETS.NORM": "FrozenBN",
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.FPN.OUT_CHANNELS": CHANNELS,
        "MODEL.ANCHOR_GENERATOR.SIZES": [[8], [16], [32], [64], [128]],
        "MODEL.PROPOSAL_GENERATOR.NAME": "MaskedRPN",
        "MODEL.RPN.HEAD_NAME": "MaskedRPNHead",
        "MODEL.RPN.IN_FEATURES": list(LEVELS),
        "MODEL.RPN.CONV_DIMS": [-1, -1],
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 40,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 100,
        "MODEL.ROI_HEADS.NAME": "OpenWorldROIHeads",
        "MODEL.ROI_HEADS.NUM_CLASSES": 1,
        "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
        "MODEL.ROI_BOX_HEAD.NAME": "OpenWorldBoxHead",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 1,
        "MODEL.ROI_BOX_HEAD.CONV_DIM": CHANNELS,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.FC_DIM": CHANNELS,
        "MODEL.ROI_BOX_HEAD.NORM": "LN",
        "MODEL.REID.DIM": 16,
        "MODEL.REID.NUM_CONV": 1,
        "MODEL.REID.CONV_DIM": CHANNELS,
        "MODEL.REID.NUM_GROUPS": 4,
        "MODEL.REID.FC_DIM": CHANNELS,
        "MODEL.REID.BATCH_SIZE_PER_IMAGE": 32,
        "TEST.DETECTIONS_PER_IMAGE": 10,
    }
    return plugin_config(keys, **overrides)


def sharpen(rpn: torch.nn.Module, heads: torch.nn.Module) -> None:
    """Draw larger output weights, so that boxes and scores differ by far more than rounding does."""
    for layer in (rpn.rpn_head.objectness_logits, rpn.rpn_head.anchor_deltas, *rpn.rpn_head.conv):
        torch.nn.init.normal_(layer.weight, std=0.05)
    for predictor in heads.box_predictor:
        torch.nn.init.normal_(predictor.cls_score.weight, std=0.5)
        torch.nn.init.normal_(predictor.bbox_pred.weight, std=0.1)


def level_shapes() -> dict:
    return {name: ShapeSpec(channels=CHANNELS, stride=stride) for name, stride in LEVELS.items()}


def objects(boxes, size, ids=None) -> Instances:
    """Ground truth; ids count from 0 if left out."""
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    instances.gt_ids = torch.tensor(list(range(len(boxes))) if ids is None else ids, dtype=torch.int64)
    return instances


def picture(seed: int, height: int = 64, width: int = 96) -> torch.Tensor:
    """A (3, H, W) uint8 picture of noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def training_input(seed: int, boxes=((8, 8, 40, 40), (50, 20, 80, 60)), ids=None, height=64, width=96) -> dict:
    """An image with its reference view: the same picture, flipped."""
    image = picture(seed, height, width)
    flipped = [(width - x2, y1, width - x1, y2) for x1, y1, x2, y2 in boxes]
    return {
        "image": image,
        "instances": objects(list(boxes), (height, width), ids),
        "reference": {"image": image.flip(2), "instances": objects(flipped, (height, width), ids)},
        "height": height,
        "width": width,
    }


def feature_maps(sizes, canvas, seed: int = 0) -> dict:
    """Maps that know their image only: seeded noise on the valid cells, rubbish (7.0) on the padded ones.

    Args:
        sizes: (height, width) of each image; image k has the same noise on every canvas.
        canvas: (height, width) of the canvas.
    """
    maps = {}
    for level, stride in LEVELS.items():
        cells = -(-canvas[0] // stride), -(-canvas[1] // stride)
        maps[level] = torch.full((len(sizes), CHANNELS, *cells), 7.0)
        for k, (height, width) in enumerate(sizes):
            generator = torch.Generator().manual_seed(1000 * seed + 10 * height + width + stride)
            valid = -(-height // stride), -(-width // stride)
            maps[level][k, :, : valid[0], : valid[1]] = torch.randn((CHANNELS, *valid), generator=generator)
    return maps


def image_list(sizes, canvas) -> ImageList:
    return ImageList(torch.zeros(len(sizes), 3, *canvas), list(sizes))
