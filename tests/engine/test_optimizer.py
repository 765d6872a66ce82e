"""Every trained parameter in one group, with the rate and decay of its part and kind."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from helpers.configs import plugin_config
from helpers.messages import raises
from torch import nn

from effowt_d2 import model_zoo
from effowt_d2.analysis import PartCount, count_parameters, format_parameters
from effowt_d2.engine import build_optimizer
from effowt_d2.engine.step import Precision, StepTrainer, clip_gradients
from effowt_d2.modeling.transfer.ownership import TrainedPart, owned_parameters


class Backbone(nn.Module):
    """A tower of two layers, whose first is frozen, a side network with a gate, and a neck."""

    def __init__(self):
        super().__init__()
        self.tower = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.tower[0].requires_grad_(False)
        # the names say the contrary of what the modules are for
        self.tower_blocks = nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2))
        self.tower_blocks.gate = nn.Parameter(torch.zeros(()))
        self.heads = nn.Conv2d(2, 3, 1)

    def trained_parts(self):
        return [
            TrainedPart("tower", (self.tower[1],), lr_factor=0.5, depth=2),
            TrainedPart("tower", (self.tower[0],), lr_factor=0.5, depth=3),
            TrainedPart("adapter", (self.tower_blocks,), lr_factor=10.0),
            TrainedPart("neck", (self.heads,)),
        ]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()
        self.side = nn.Linear(3, 1)
        self.shared = self.side.weight


def make_config(**options):
    keys = {
        "SOLVER.BASE_LR": 0.1,
        "SOLVER.TOWER_LAYER_DECAY": 0.8,
        "SOLVER.WEIGHT_DECAY": 0.05,
        "SOLVER.WEIGHT_DECAY_NORM": 0.01,
        "SOLVER.WEIGHT_DECAY_BIAS": 0.02,
    }
    return plugin_config(keys, **options)


def rates(optimizer):
    """By parameter: learning rate and weight decay; fails where one is in two groups."""
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert parameter not in found
            found[parameter] = (pytest.approx(group["lr"]), group["weight_decay"])
    return found


@pytest.mark.parametrize("name, kind", [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_rates_go_by_module(name, kind):
    model = Model()
    optimizer = build_optimizer(make_config(SOLVER__OPTIMIZER=name), model)
    assert isinstance(optimizer, kind)
    side, norm = model.backbone.tower_blocks
    assert rates(optimizer) == {
        model.backbone.tower[1].weight: (0.1 * 0.5 * 0.8**2, 0.05),
        model.backbone.tower[1].bias: (0.032, 0.02),
        side.weight: (1.0, 0.05),
        side.bias: (1.0, 0.02),
        norm.weight: (1.0, 0.01),
        norm.bias: (1.0, 0.01),
        model.backbone.tower_blocks.gate: (1.0, 0.01),
        model.backbone.heads.weight: (0.1, 0.05),
        model.backbone.heads.bias: (0.1, 0.02),
        model.side.weight: (0.1, 0.05),
        model.side.bias: (0.1, 0.02),
    }


def test_biases_decay_as_weights_by_default_and_may_have_a_rate():
    model = Model()
    optimizer = build_optimizer(make_config(SOLVER__WEIGHT_DECAY_BIAS=None, SOLVER__BIAS_LR_FACTOR=2.0), model)
    found = rates(optimizer)
    assert found[model.side.bias] == (0.2, 0.05) and found[model.side.weight] == (0.1, 0.05)


def test_scales_tables_and_fusion_weights_decay_as_norms():
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WEIGHT_DECAY_NORM = 0.05, 0.01
    model = build_model(cfg)
    found = {
        id(p): group["weight_decay"] for group in build_optimizer(cfg, model).param_groups for p in group["params"]
    }
    decays = {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}
    weighing = [n for n in decays if n.endswith((".scale", "mixer.table", "fusion.weight", ".logit"))]
    assert {name.rpartition(".")[2] for name in weighing} == {"scale", "table", "weight", "logit"}
    assert {decays[name] for name in weighing} == {0.01}
    assert {decays[n] for n in decays if n.endswith("linear.weight")} == {0.05}


def test_every_trained_parameter_once_and_no_frozen_one():
    model = Model()
    in_groups = rates(build_optimizer(make_config(), model))
    assert set(in_groups) == {parameter for parameter in model.parameters() if parameter.requires_grad}
    assert len(owned_parameters(model)) == len(in_groups)


def test_model_of_heads_only_and_model_that_does_not_train():
    layer = nn.Linear(2, 2)
    assert {owned.part.name for owned in owned_parameters(layer)} == {"heads"}
    with raises(ValueError, "parameter"):
        build_optimizer(make_config(), layer.requires_grad_(False))


def test_parameter_of_two_parts():
    model = Model()
    part = TrainedPart("neck again", (model.backbone.tower_blocks[1],))
    parts = model.backbone.trained_parts()
    model.backbone.trained_parts = lambda: [*parts, part]
    with raises(ValueError, "(2,)", "adapter", 10.0, "neck again", 1.0):
        owned_parameters(model)


def test_optimizer_that_does_not_exist():
    with raises(ValueError, "lion", "adamw", "sgd"):
        build_optimizer(make_config(SOLVER__OPTIMIZER="lion"), Model())


def test_groups_have_the_name_of_their_part():
    groups = build_optimizer(make_config(), Model()).param_groups
    assert {group["part"] for group in groups} == {"tower", "adapter", "neck", "heads"}


def test_report_counts_by_part():
    counts = count_parameters(Model())
    assert counts == {
        "tower": PartCount(frozen=20, trained=20),
        "adapter": PartCount(frozen=0, trained=15),
        "neck": PartCount(frozen=0, trained=9),
        "other": PartCount(frozen=0, trained=4),
    }
    text = format_parameters(counts)
    assert all(part in text for part in ("48", "tower 20", "adapter 15", "neck 9", "other 4", "frozen 20", "70.588%"))


def test_a_frozen_side_network_is_not_counted_as_trained():
    counts = {
        "tower": PartCount(frozen=100, trained=0),
        "side: blocks": PartCount(frozen=30, trained=0),
        "other": PartCount(frozen=0, trained=4),
    }
    text = format_parameters(counts)
    assert text.startswith("trained parameters 4 (other 4); frozen 130;") and "side/tower 30.000%" in text
    counts["side: blocks"] = PartCount(frozen=10, trained=20)
    assert format_parameters(counts).startswith("trained parameters 24 (side 20, other 4); frozen 110;")


@pytest.mark.parametrize("strategy,part,factor", [("side", "side", 7.0), ("full", "tower", 3.0)])
def test_learning_rate_factors_of_the_config_reach_their_part(strategy, part, factor):
    cfg = model_zoo.get_config("quick/shapes_ow_effowt.yaml")
    cfg.MODEL.TRANSFER.STRATEGY, cfg.SOLVER.BASE_LR = strategy, 0.1
    cfg.SOLVER.SIDE_LR_FACTOR, cfg.SOLVER.TOWER_LR_FACTOR = 7.0, 3.0
    rates = {group["part"]: group["lr"] for group in build_optimizer(cfg, build_model(cfg)).param_groups}
    others = rates.keys() - {part}
    assert rates[part] == pytest.approx(0.1 * factor) and {rates[name] for name in others} == {0.1}


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("value", [[0.5, 0.5], [0.1]]),
        ("norm", [[0.3, 0.4], [0.1]]),
        ("full_model", [[0.3, 0.4], [0.01]]),
    ],
)
def test_clipping(kind, expected):
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([0.1])
    clip = make_config(SOLVER__CLIP_GRADIENTS__CLIP_TYPE=kind, SOLVER__CLIP_GRADIENTS__CLIP_VALUE=0.5)
    clip = clip.SOLVER.CLIP_GRADIENTS
    optimizer = torch.optim.SGD([{"params": [weight]} for weight in weights], lr=1)
    clip_gradients(optimizer, clip)
    assert weights[0].grad.tolist() == [3, 4]
    clip.ENABLED = True
    clip_gradients(optimizer, clip)
    for weight, gradient in zip(weights, expected):
        assert weight.grad.tolist() == pytest.approx(gradient, rel=0.01)


def test_clipping_that_does_not_exist():
    clip = make_config(SOLVER__CLIP_GRADIENTS__ENABLED=True, SOLVER__CLIP_GRADIENTS__CLIP_TYPE="max")
    with raises(ValueError, "max", "value", "norm", "full_model"):
        clip_gradients(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1), clip.SOLVER.CLIP_GRADIENTS)


class Slope(nn.Module):
    """A loss with the gradient (3, 4)."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, batch):
        return {"loss": (self.weight * torch.tensor([3.0, 4.0])).sum()}


@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("limit, step", [(10.0, [3.0, 4.0]), (1.0, [0.6, 0.8])])
def test_gradients_are_clipped_as_they_are_not_as_float16_scales_them(dtype, limit, step):
    model = Slope()
    clip = make_config(SOLVER__CLIP_GRADIENTS__ENABLED=True, SOLVER__CLIP_GRADIENTS__CLIP_TYPE="full_model")
    clip.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = limit
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    settings = {"precision": Precision("cpu", dtype), "clip": clip.SOLVER.CLIP_GRADIENTS}
    trainer = StepTrainer(model, [[{}]], optimizer, **settings)
    with EventStorage():
        trainer.run_step()
    assert (-model.weight).tolist() == pytest.approx(step, rel=1e-4)
