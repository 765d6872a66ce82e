"""Structural pruning: what is kept, what is copied, and that the tower is left alone."""

import dataclasses

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from helpers.tiny_eva import register_tiny_evas

from effowt_d2.modeling.side.initialisation import Magnitude
from effowt_d2.modeling.side.pruning import attention_rows, residual_channels
from effowt_d2.modeling.tower.block_weights import BlockWeights


def build(tiny, init, *, tap_init="xavier", name=None, reduction=4):
    side = {"BLOCKS": [1, 2, 1], "MLP_RATIO": [4, 2, 1], "REDUCTION": reduction, "INIT": init, "TAP_INIT": tap_init}
    return tiny_backbone(name or tiny, **{f"MODEL__SIDE__{key}": value for key, value in side.items()})


def pruned(backbone):
    importances = Magnitude().importances(backbone.tower, backbone.strategy.taps)
    return backbone.strategy.prune(backbone.tower, importances)


def magnitude(weights):
    return weights.map(torch.abs)


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_copied_entries_are_the_towers_at_the_kept_indices(tiny, reduction):
    backbone = build(tiny, "l1", tap_init="select", reduction=reduction)
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    kept = pruned(backbone)
    # pruning once more changes nothing: building had done it already
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    side, tower = backbone.strategy.side, backbone.tower
    taps = [tap for stage in side.layout.stage_taps() for tap in stage]
    blocks = [block for stage in side.stages for block in stage.blocks]
    assert taps == [0, 1, 2, 3] and all(torch.equal(k.residual, kept[0].residual) for k in kept)
    s = kept[0].residual
    for tap, block, k in zip(taps, blocks, kept):
        weights, vectors = tower.block_weights(tap), tower.block_vectors(tap)
        q, _, v = block.attn.qkv.weight.chunk(3)
        assert torch.equal(q, weights.q[k.rows][:, s]) and torch.equal(v, weights.v[k.rows][:, s])
        assert torch.equal(block.attn.proj.weight, weights.proj[s][:, k.rows])
        assert torch.equal(block.attn.qkv.bias.chunk(3)[1], vectors.k[k.rows])
        assert torch.equal(block.norm1.weight, vectors.norm1.weight[s])
        assert (len(k.hidden) == 0) == block.sparse
        if len(k.hidden):
            assert torch.equal(block.interaction.fc1.weight, weights.fc1[k.hidden][:, s])
            assert torch.equal(block.interaction.fc2.weight, weights.fc2[s][:, k.hidden])
    x = torch.randn(5, 64)
    for projection in side.taps:
        assert torch.equal(projection(x), x[:, s])


@pytest.mark.parametrize("name", ["EVA02-B-16", "EVA01-g-14"])
def test_eva_weights_have_the_roles_they_are_given(name):
    from effowt_d2.modeling.tower import build_tower

    with torch.device("meta"):
        tower = build_tower(name, "", allow_random=True)
    weights, vectors = tower.block_weights(1), tower.block_vectors(1)
    d, hidden = tower.embed_dim, weights.fc1.shape[0]
    assert weights.q.shape == weights.k.shape == weights.v.shape == weights.proj.shape == (d, d)
    assert weights.fc1.shape == (hidden, d) and weights.fc2.shape == (d, hidden)
    assert (weights.gate is not None) == (name == "EVA02-B-16")
    assert vectors.k is None and vectors.q.shape == vectors.v.shape == (d,) and vectors.norm1 is tower.blocks[1].norm1


def test_l1_finds_the_rows_that_were_made_large():
    torch.manual_seed(0)
    d, hidden = 16, 32
    shapes = dict(q=(d, d), k=(d, d), v=(d, d), proj=(d, d), fc1=(hidden, d), fc2=(d, hidden))
    weights = BlockWeights(**{k: 0.01 * torch.randn(v) for k, v in shapes.items()})
    weights.fc2[[3, 7]] += 1
    weights.fc1[:, [12]] -= 1
    assert residual_channels([magnitude(weights)], 3).tolist() == [3, 7, 12]
    for matrix in (weights.q, weights.k, weights.v):
        matrix[8:12] += 1
        matrix[9:11] += 1
    everything = torch.arange(d)
    assert attention_rows(magnitude(weights), everything[:4], 4, 1).tolist() == [8, 9, 10, 11]
    assert attention_rows(magnitude(weights), everything[:2], 4, 1).tolist() == [9, 10]


def test_scratch_copies_nothing(tiny):
    backbone = build(tiny, "scratch")
    drawn = backbone.strategy.side.stages[0].blocks[0].attn.qkv.weight
    assert not torch.isin(drawn, backbone.tower.block_weights(0).q).any()
    backbone.initialise()
    assert torch.equal(drawn, build(tiny, "scratch").strategy.side.stages[0].blocks[0].attn.qkv.weight)


BAD = [
    ("l2", "xavier", ["MODEL.SIDE.INIT", "l2", "l1", "scratch"]),
    ("l1", "pca", ["MODEL.SIDE.TAP_INIT", "pca", "select", "xavier"]),
    ("scratch", "select", ["MODEL.SIDE.TAP_INIT", "select", "scratch"]),
]


@pytest.mark.parametrize("init,tap_init,data", BAD)
def test_bad_settings_name_the_key(tiny, init, tap_init, data):
    with raises(ValueError, *data):
        build(tiny, init, tap_init=tap_init)


def test_side_heads_larger_than_tower_heads():
    weights = BlockWeights(*(torch.ones(64, 64) for _ in range(6)))
    with raises(ValueError, 3, 21, 16):
        attention_rows(weights, torch.arange(63), 4, 3)


def test_a_channel_counts_by_what_the_attention_writes_to_it():
    small = 0.01 * torch.ones(16, 16)
    weights = BlockWeights(*(small.clone() for _ in range(4)), torch.full((32, 16), 0.01), torch.full((16, 32), 0.01))
    weights.proj[5] += 1  # outputs
    weights.proj[:, 9] += 0.5  # inputs
    weights.proj[5, 9] -= 0.5
    assert residual_channels([weights], 1).tolist() == [5]


def test_hidden_units_of_a_gated_mlp_count_by_their_gate_too(tiny, tmp_path):
    register_tiny_evas(tmp_path)
    backbone = tiny_backbone("tiny-eva02", MODEL__SIDE__INIT="l1")
    importances = Magnitude().importances(backbone.tower, backbone.strategy.taps)
    open_units = {}
    for tap, block in importances.items():
        assert block.gate is not None
        # the units that other matrices care least for
        order = (block.fc1.sum(1) * block.fc2.sum(0)).argsort()
        gate = torch.zeros_like(block.gate)
        gate[order[: len(order) // 2]] = 1
        importances[tap] = dataclasses.replace(block, gate=gate)
        open_units[tap] = set(order[: len(order) // 2].tolist())
    taps = [tap for stage in backbone.strategy.side.layout.stage_taps() for tap in stage]
    kept = backbone.strategy.prune(backbone.tower, importances)
    dense = [(tap, k.hidden.tolist()) for tap, k in zip(taps, kept) if len(k.hidden)]
    assert dense and all(set(hidden) <= open_units[tap] for tap, hidden in dense)
