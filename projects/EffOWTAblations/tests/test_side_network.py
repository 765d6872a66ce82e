"""Every control in a side network: it builds, steps, and masks padding."""

import pytest
import torch
from effowt_ablations.transformer import TransformerBlock
from helpers.messages import raises
from helpers.padding import assert_alone_as_in_a_padded_batch

from effowt_d2.modeling.layers import attention
from effowt_d2.modeling.side import block, fusion, network, sparse_interaction

SWITCHES = {
    "parallel": ("SIDE.TOPOLOGY", "parallel", "SIDE.BLOCKS", [2, 2, 2]),
    "channel gate": ("SIDE.GATE.KIND", "channel", "SIDE.GATE.TEMPERATURE", 1.0),
    "fixed gate": ("SIDE.GATE.KIND", "fixed", "SIDE.GATE.VALUE", 0.25),
    "summed taps": ("SIDE.GATE.KIND", "sum"),
    "pure transformer": ("TRANSFER.STRATEGY", "side_transformer"),
    "concatenated": ("SIDE.SIM.FUSION", "concat"),
    "two lines": ("SIDE.SIM.KIND", "axial"),
    "line means": ("SIDE.SIM.KIND", "strip"),
    "cosines": ("SIDE.SIM.KIND", "dct", "SIDE.SIM.COEFFICIENTS", 3),
    "one resolution": ("SIDE.SIM.KIND", "fixed", "SIDE.SIM.RESOLUTION", 32),
    "random offsets": ("SIDE.SIM.KIND", "random", "SIDE.SEED", 3),
    "pooled grid": ("SIDE.SIM.KIND", "dense_pooled"),
    "softmax fusion": ("SIDE.FUSION.KIND", "softmax", "SIDE.FUSION.OUTPUT_CONV", False),
    "mean fusion": ("SIDE.FUSION.KIND", "mean"),
    "last stage only": ("SIDE.FUSION.KIND", "last"),
}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("switch", SWITCHES)
def test_every_switch_builds_and_steps(build, switch):
    backbone = build(*SWITCHES[switch]).train()
    levels = backbone(torch.randn(1, 3, 64, 32), [(50, 30)])
    assert [tuple(v.shape[-2:]) for v in levels.values()] == [(16, 8), (8, 4), (4, 2), (2, 1), (1, 1), (1, 1)]
    sum(v.square().mean() for v in levels.values()).backward()
    for name, parameter in backbone.strategy.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("switch", SWITCHES)
def test_an_image_alone_equals_the_same_in_a_padded_batch(build, switch):
    assert_alone_as_in_a_padded_batch(build(*SWITCHES[switch]).eval())


def test_gates_shut_the_tower_out(build):
    backbone = build("SIDE.GATE.KIND", "fixed", "SIDE.GATE.VALUE", 0.0).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = backbone(images)
        for parameter in backbone.tower.parameters():
            parameter.normal_()
        after = backbone(images)
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("reduction", [2, 4])
def test_a_pure_transformer_can_have_the_size_of_the_hybrid(build, reduction):
    hybrid = build("SIDE.REDUCTION", reduction)
    options = ("TRANSFER.STRATEGY", "side_transformer", "SIDE.REDUCTION", reduction)
    plain, matched = (build(*options, "SIDE.MATCH_PARAMS", match) for match in (False, True))
    blocks = [b for stage in matched.strategy.side.stages for b in stage.blocks]
    assert all(isinstance(b, TransformerBlock) for b in blocks)
    s = 64 // reduction
    assert count(hybrid.strategy) - count(plain.strategy) == len(blocks) * 2 * 10 * s
    # one hidden unit is the step
    assert abs(count(hybrid.strategy) - count(matched.strategy)) <= 2 * s + 1


def test_parallel_ladders_have_the_whole_depth_each(build):
    with torch.device("meta"):
        side = build("SIDE.TOPOLOGY", "parallel", "SIDE.BLOCKS", [3, 2, 1], name="ViT-L-14").strategy.side
    assert side.layout.stage_taps() == [[7, 15, 23], [11, 23], [23]]


def saved_bytes_and_gradients(backbone):
    known = {t.untyped_storage().data_ptr() for t in [*backbone.parameters(), *backbone.buffers()]}
    storages = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage
        return tensor

    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 96, 128, generator=generator)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        levels = backbone(images, [(96, 128), (70, 90)])
    sum((x * torch.randn(x.shape, generator=generator)).sum() for x in levels.values()).backward()
    gradients = [parameter.grad for parameter in backbone.strategy.parameters()]
    return sum(storage.nbytes() for storage in storages.values()), gradients


RECOMPUTED = [
    ("SIDE.TOPOLOGY", "parallel", "TRANSFER.STRATEGY", "side_transformer", "SIDE.GATE.KIND", "channel"),
    ("SIDE.SIM.FUSION", "concat", "SIDE.FUSION.OUTPUT_CONV", False),
]


@pytest.mark.parametrize("options", RECOMPUTED)
def test_recomputation_changes_nothing_but_the_memory(build, monkeypatch, options):
    options = ("SIDE.BLOCKS", [2, 1, 1], *options)
    lean = saved_bytes_and_gradients(build(*options).train())
    stages = saved_bytes_and_gradients(build(*options, "SIDE.CHECKPOINT", [True] * 3).train())
    for user in (attention, block, fusion, network, sparse_interaction):
        monkeypatch.setattr(user, "recomputed", lambda function, *args: function(*args))
    plain = saved_bytes_and_gradients(build(*options).train())
    for _, gradients in (lean, stages):
        assert all(torch.equal(a, b) for a, b in zip(gradients, plain[1]))
    assert stages[0] < lean[0] < 0.7 * plain[0], (stages[0], lean[0], plain[0])


BAD = [
    ("GATE.VALUE", ["1.5"], ("SIDE.GATE.KIND", "fixed", "SIDE.GATE.VALUE", 1.5)),
    ("SIM.COEFFICIENTS", ["16", "15"], ("SIDE.SIM.KIND", "dct")),
    ("FISHER_SAMPLES", ["0"], ("SIDE.INIT", "fisher", "SIDE.FISHER_SAMPLES", 0)),
    (
        "MATCH_PARAMS",
        ["16"],
        ("TRANSFER.STRATEGY", "side_transformer", "SIDE.MATCH_PARAMS", True, "SIDE.SIM.SCALES", [16]),
    ),
    ("BLOCKS", ["5", "4"], ("SIDE.TOPOLOGY", "parallel", "SIDE.BLOCKS", [5, 1, 1])),
]


@pytest.mark.parametrize("key,data,options", BAD)
def test_bad_settings_name_the_key(build, key, data, options):
    with raises(ValueError, f"MODEL.SIDE.{key}", *data):
        build(*options)
