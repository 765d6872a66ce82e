"""The backbone by config: budgets to the digit, freezing, padding, strategies, errors."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from helpers.configs import plugin_config
from helpers.messages import raises
from helpers.padding import assert_alone_as_in_a_padded_batch

from effowt_d2.modeling.backbone import build_effowt_backbone
from effowt_d2.modeling.transfer import TransferStrategy, register_strategy

PIXELS = ShapeSpec(channels=3)
B = ["BLOCKS", [1, 1, 1], "MLP_RATIO", [4, 1, 1], "TAP_SHARING", "all", "FUSION.OUTPUT_CONV", False]
L = ["BLOCKS", [3, 2, 1], "MLP_RATIO", [4, 2, 1], "TAP_SHARING", "stage"]
H = ["BLOCKS", [3, 2, 1], "MLP_RATIO", [4, 2, 1], "TAP_SHARING", "tap"]
G = ["BLOCKS", [4, 3, 1], "MLP_RATIO", [4, 1, 2], "TAP_SHARING", "tap"]
# tower: parameters of the side network, percent of the tower's, layout
REFERENCE = {
    "ViT-B-16": (1034732, 1.200, B),
    "EVA02-B-16": (1034732, 1.200, B),
    "ViT-L-14": (3837103, 1.262, L),
    "EVA02-L-14": (3837103, 1.262, L),
    "ViT-H-14": (7012335, 1.109, H),
    "EVA01-g-14": (10537297, 1.041, G),
}


def config(name, *side, **keys):
    small = {"VLM__NAME": name, "VLM__ALLOW_RANDOM": True, "VLM__CANVAS": 8, "TRANSFER__OUT_CHANNELS": 32}
    side = {f"SIDE__{key}": value for key, value in zip(side[::2], side[1::2])}
    return plugin_config(**{f"MODEL__{key}": value for key, value in {**small, **side, **keys}.items()})


SMALL = ("BLOCKS", [1, 1, 1], "SIM.GROUPS", 4, "SIM.RANGE", 8)


def build(tiny, *side, **keys):
    torch.manual_seed(0)
    return build_effowt_backbone(config(tiny, *SMALL, *side, **keys), PIXELS)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_layouts_have_the_published_totals(name):
    total, percent, side = REFERENCE[name]
    with torch.device("meta"):
        backbone = build_effowt_backbone(config(name, *side, TRANSFER__OUT_CHANNELS=256), PIXELS)
    assert count(backbone.strategy) == total
    assert round(100 * total / count(backbone.tower), 3) == percent


def test_a_budget_that_is_exceeded_names_the_parts():
    figures = ("3,837,103", "1.262%", "1.200%", "stem 10,240", "fusion 403,977")
    with torch.device("meta"), raises(ValueError, "MODEL.SIDE.MAX_FRACTION", *figures):
        build_effowt_backbone(config("ViT-L-14", "MAX_FRACTION", 0.012, TRANSFER__OUT_CHANNELS=256), PIXELS)


@pytest.mark.parametrize("strategy", ["zero_shot", "side", "full"])
def test_what_trains_is_what_the_strategy_chooses(tiny, strategy):
    backbone = build(tiny, TRANSFER__STRATEGY=strategy)
    listed = [p for part in backbone.trained_parts() for m in part.modules for p in m.parameters() if p.requires_grad]
    assert len({id(p) for p in listed}) == len(listed)
    assert {id(p) for p in listed} == {id(p) for p in backbone.parameters() if p.requires_grad}
    assert any(p.requires_grad for p in backbone.tower.parameters()) == (strategy == "full")
    depths = [part.depth for part in backbone.trained_parts() if part.name == "tower"]
    assert depths == ([4, 3, 2, 1, 0] if strategy == "full" else [])


@pytest.mark.parametrize("strategy", ["zero_shot", "side"])
def test_training_leaves_the_tower_bit_identical_and_without_a_graph(tiny, strategy):
    backbone = build(tiny, TRANSFER__STRATEGY=strategy).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-2)
    images = torch.randn(2, 3, 64, 96)
    for _ in range(3):
        optimizer.zero_grad()
        sum(level.square().mean() for level in backbone(images, [(64, 96), (40, 64)]).values()).backward()
        optimizer.step()
    assert all(p.grad is None for p in backbone.tower.parameters())
    changed = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert not any(k.startswith("tower.") for k in changed)
    trained = [k for k, p in backbone.named_parameters() if p.requires_grad]
    assert len(changed & set(trained)) >= 0.95 * len(trained)

    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        backbone.tower(torch.randn(1, 3, 64, 64, requires_grad=True))
    assert not saved


@pytest.mark.parametrize("strategy", ["zero_shot", "side", "full"])
def test_an_image_alone_equals_the_same_in_a_padded_batch(tiny, strategy):
    assert_alone_as_in_a_padded_batch(build(tiny, "WINDOWS", [4, 4, 0], TRANSFER__STRATEGY=strategy).eval())


def test_pixels_reach_the_tower_as_it_was_trained(tiny):
    cfg = config(tiny, *SMALL)
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [10.0, 20.0, 30.0], [2.0, 3.0, 4.0]
    bgr = torch.rand(1, 3, 32, 32) * 255
    seen = {}
    for order in ("BGR", "RGB"):
        cfg.INPUT.FORMAT = order
        backbone = build_effowt_backbone(cfg, PIXELS)
        backbone.tower.register_forward_pre_hook(lambda module, args, order=order: seen.update({order: args[0]}))
        image = bgr if order == "BGR" else bgr.flip(1)
        backbone((image - torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)) / torch.tensor([2.0, 3.0, 4.0]).view(3, 1, 1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.tower.pixel_mean, backbone.tower.pixel_std))
    expected = (bgr.flip(1) / 255 - mean) / std
    torch.testing.assert_close(seen["BGR"], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(seen["RGB"], expected, atol=1e-5, rtol=1e-5)


SWITCHES = {
    "reduction 2": ("REDUCTION", 2),
    "reduction 8": ("REDUCTION", 8),
    "tap per block": ("TAP_SHARING", "tap", "BLOCKS", [2, 1, 1]),
    "named taps": ("TAPS", [3, 0, 2]),
    "warm gate": ("GATE.TEMPERATURE", 1.0, "GATE.VALUE", 0.8),
    "no output convolutions": ("FUSION.OUTPUT_CONV", False),
    "sim everywhere": ("SIM.SCALES", [4, 8, 16]),
    "no sim": ("SIM.SCALES", []),
    "recomputed": ("CHECKPOINT", [True, True, False]),
    "two lines": ("SIM.AXES", ["row", "diagonal"]),
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_builds_and_steps(tiny, switch):
    backbone = build(tiny, *SWITCHES[switch]).train()
    levels = backbone(torch.randn(1, 3, 64, 32), [(50, 30)])
    assert [tuple(v.shape[-2:]) for v in levels.values()] == [(16, 8), (8, 4), (4, 2), (2, 1), (1, 1), (1, 1)]
    sum(v.square().mean() for v in levels.values()).backward()
    for name, parameter in backbone.strategy.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_recomputation_changes_nothing(tiny):
    images = torch.randn(1, 3, 64, 64)
    grads = []
    for recompute in (False, True):
        backbone = build(tiny, "CHECKPOINT", [recompute] * 3).train()
        sum(v.square().mean() for v in backbone(images).values()).backward()
        grads.append([p.grad for p in backbone.strategy.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads))


@pytest.mark.parametrize("r", [2, 4, 8])
def test_taps_spread_over_the_depth_and_end_at_the_last_block(tiny, r):
    with torch.device("meta"):
        side = build_effowt_backbone(config("ViT-L-14", "REDUCTION", r), PIXELS).strategy.side
    assert side.layout.channels == 1024 // r
    assert side.layout.stage_taps() == [[3, 7, 11], [15, 19], [23]]


# config key below MODEL.SIDE, other data of the message, settings
BAD = (
    ("REDUCTION", (5, 64), ("REDUCTION", 5)),
    ("TOPOLOGY", ("star", "sequential"), ("TOPOLOGY", "star")),
    ("TAP_SHARING", ("none", "stage"), ("TAP_SHARING", "none")),
    ("BLOCKS", ("[1, 1]", "(4, 8, 16)"), ("BLOCKS", [1, 1])),
    ("MLP_RATIO", ("[1, 0, 1]",), ("MLP_RATIO", [1, 0, 1])),
    ("SIM.SCALES", ("[32]", "[4, 8, 16]"), ("SIM.SCALES", [4, 32])),
    ("TAPS", (3, "(1, 2)"), ("TAPS", [1, 2])),
    ("TAPS", ("[4]", 0, 3), ("TAPS", [0, 1, 4])),
    ("BLOCKS", (6, 4), ("BLOCKS", [3, 2, 1])),
    ("SIM.KIND", ("star", "axes"), ("SIM.KIND", "star")),
    ("SIM.FUSION", ("star", "sum"), ("SIM.FUSION", "star")),
    ("SIM.RANGE", ("max_range", 0), ("SIM.RANGE", 0)),
    ("SIM.GROUPS", (3, 16), ("SIM.GROUPS", 3)),
    ("SIM.AXES", ("spiral", "diagonal"), ("SIM.AXES", ["spiral"])),
    ("GATE.KIND", ("star", "learnable"), ("GATE.KIND", "star")),
    ("GATE.TEMPERATURE", (-1.0,), ("GATE.TEMPERATURE", -1.0)),
    ("GATE.VALUE", (1.5,), ("GATE.VALUE", 1.5)),
    ("FUSION.KIND", ("star", "weighted"), ("FUSION.KIND", "star")),
    ("WINDOWS", ("[16]",), ("WINDOWS", [16])),
    ("CHECKPOINT", ("[True]",), ("CHECKPOINT", [True])),
)


@pytest.mark.parametrize("key, data, settings", BAD)
def test_bad_side_settings_name_the_key(tiny, key, data, settings):
    with raises(ValueError, f"MODEL.SIDE.{key}", *data):
        build(tiny, *settings)


def test_other_bad_settings_are_reported(tiny):
    with raises(ValueError, "MODEL.TRANSFER.STRATEGY", "adapter", "full", "side", "zero_shot"):
        build(tiny, TRANSFER__STRATEGY="adapter")
    with raises(ValueError, 48, 64, 32):
        build(tiny)(torch.zeros(1, 3, 48, 64))
    with raises(ValueError, "MODEL.PIXEL_MEAN", 3, 4):
        build_effowt_backbone(config(tiny), ShapeSpec(channels=4))
    cfg = config(tiny, *SMALL)
    cfg.INPUT.FORMAT = "YUV-BT.601"
    with raises(ValueError, "INPUT.FORMAT", "YUV-BT.601", "BGR", "RGB"):
        build_effowt_backbone(cfg, PIXELS)
    with raises(ValueError, "side", "Side"):
        register_strategy("side")(TransferStrategy)


def test_a_map_of_one_token_runs(tiny):
    levels = build(tiny)(torch.randn(1, 3, 32, 32), [(1, 1)])
    assert all(level.isfinite().all() for level in levels.values())
