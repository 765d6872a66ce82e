"""The defaults of the constructors and those of the config keys are the same values."""

import inspect

import pytest
from helpers.configs import plugin_config

from effowt_d2.data.mappers import FrameMapper, TwoViewMapper
from effowt_d2.evaluation import TAOOWEvaluator
from effowt_d2.modeling.backbone import EffOWTBackbone
from effowt_d2.modeling.peft import DenseAdapterMethod, DenseAdapters, LoRA, LoRAMethod, TMoE
from effowt_d2.modeling.roi_heads import OpenWorldROIHeads, ReIDHead, ReIDLoss, ReIDSampler
from effowt_d2.modeling.side import SideLayout, SideNetwork, SparseInteraction
from effowt_d2.modeling.side.fusion import WeightedFusion
from effowt_d2.modeling.side.gate import Gate
from effowt_d2.modeling.side.mixers import Mixer
from effowt_d2.modeling.tokens import MergeReduction, SparseReduction, TokenReduction
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.transfer.side import Side
from effowt_d2.modeling.transfer.strategy import Pyramid
from effowt_d2.naming import TrackNamer

SIM = {"groups": "GROUPS", "max_range": "RANGE", "axes": "AXES"}
REID_HEAD = ("dim", "num_conv", "conv_dim", "num_groups", "fc_dim", "pooler_resolution")
NAMING = ("templates", "context", "max_zoom", "background", "views", "budget")
LAYOUT = ("reduction", "topology", "blocks", "mlp_ratio", "taps", "tap_sharing")
UPDATE = ("rank", "alpha", "scale_rule", "dropout", "init")
MIXTURE = ("num_experts", "route_compression", "ungated_expert")
# constructor, node of the config, and keys by argument
PARTS = [
    (Gate, "MODEL.SIDE.GATE", {"temperature": "TEMPERATURE", "value": "VALUE"}),
    (WeightedFusion, "MODEL.SIDE.FUSION", {"output_conv": "OUTPUT_CONV"}),
    (Mixer, "MODEL.SIDE.SIM", SIM),
    (SparseInteraction, "MODEL.SIDE.SIM", {**SIM, "kind": "KIND"}),
    (SideLayout, "MODEL.SIDE", {**{name: name.upper() for name in LAYOUT}, "sim_scales": "SIM.SCALES"}),
    (SideNetwork, "MODEL.SIDE", {"windows": "WINDOWS", "recompute": "CHECKPOINT"}),
    (SideNetwork, "MODEL.TRANSFER", {"out_channels": "OUT_CHANNELS", "levels": "LEVELS"}),
    (Side, "MODEL.SIDE", {"max_fraction": "MAX_FRACTION", "tap_init": "TAP_INIT"}),
    (Side, "SOLVER", {"lr_factor": "SIDE_LR_FACTOR"}),
    (Pyramid, "MODEL.TRANSFER", {"out_channels": "OUT_CHANNELS", "levels": "LEVELS"}),
    (EffOWTBackbone, "SOLVER", {name: name.upper() for name in ("tower_lr_factor", "peft_lr_factor")}),
    (LoRA, "MODEL.PEFT", {name: name.upper() for name in UPDATE}),
    (TMoE, "MODEL.PEFT", {name: name.upper() for name in UPDATE}),
    (TMoE, "MODEL.PEFT.TMOE", {name: name.upper() for name in MIXTURE}),
    (LoRAMethod, "MODEL.PEFT", {"sites": "SITES"}),
    (DenseAdapterMethod, "MODEL.PEFT.ADAPTER", {name: name.upper() for name in ("variant", "dim", "scale")}),
    (DenseAdapters, "MODEL.PEFT.ADAPTER", {name: name.upper() for name in ("dim", "scale")}),
    (EffOWTBackbone, "MODEL.TRANSFER", {"out_channels": "OUT_CHANNELS", "levels": "LEVELS"}),
    (EffOWTBackbone, "MODEL", {"pixel_mean": "PIXEL_MEAN", "pixel_std": "PIXEL_STD"}),
    (EffOWTBackbone, "INPUT", {"input_format": "FORMAT"}),
    (
        build_tower,
        "MODEL.VLM",
        {
            **{
                name: name.upper()
                for name in ("allow_random", "canvas", "window", "global_blocks", "precision", "stride", "drop_path")
            },
            "compile_backend": "COMPILE",
            "drop_relative_positions": "DROP_RELATIVE_POSITIONS",
        },
    ),
    (TokenReduction, "MODEL.TOKENS", {name: name.upper() for name in ("blocks", "keep_rates", "window")}),
    (SparseReduction, "MODEL.TOKENS", {name: name.upper() for name in ("score", "fuse", "rebuild")}),
    (MergeReduction, "MODEL.TOKENS", {name: name.upper() for name in ("merge_window", "merge_threshold")}),
    (TrackNamer, "NAMING", {name: name.upper() for name in NAMING}),
    (TwoViewMapper, "DATA", {"min_box_side": "MIN_BOX_SIDE"}),
    (TwoViewMapper, "INPUT", {"image_format": "FORMAT"}),
    (
        FrameMapper,
        "INPUT",
        {"min_size": "MIN_SIZE_TEST", "max_size": "MAX_SIZE_TEST", "image_format": "FORMAT"},
    ),
    (TAOOWEvaluator, "TEST.TAO_OW", {name: name.upper() for name in ("max_detections", "subsets", "workers")}),
    (OpenWorldROIHeads, "MODEL.ROI_HEADS", {"score": "SCORE"}),
    (ReIDHead, "MODEL.REID", {name: name.upper() for name in REID_HEAD}),
    (
        ReIDSampler,
        "MODEL.REID",
        {
            "batch_size": "BATCH_SIZE_PER_IMAGE",
            **{name: name.upper() for name in ("positive_fraction", "negatives_per_positive")},
            **{name: name.upper() for name in ("positive_iou", "negative_iou")},
        },
    ),
    (
        ReIDLoss,
        "MODEL.REID",
        {
            "kind": "LOSS",
            "weight": "LOSS_WEIGHT",
            **{name: name.upper() for name in ("aux_weight", "aux_margin", "aux_negatives_per_positive")},
        },
    ),
]


def value(cfg, path):
    for name in path.split("."):
        cfg = cfg[name]
    return list(cfg) if isinstance(cfg, (list, tuple)) else cfg


def default(part, argument):
    found = inspect.signature(part).parameters[argument].default
    return list(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize("part, node, keys", PARTS, ids=lambda item: getattr(item, "__name__", None))
def test_config_and_constructor_agree(part, node, keys):
    cfg = plugin_config()
    keys = {argument: f"{node}.{key}" for argument, key in keys.items()}
    assert {argument: default(part, argument) for argument in keys} == {
        argument: value(cfg, key) for argument, key in keys.items()
    }
