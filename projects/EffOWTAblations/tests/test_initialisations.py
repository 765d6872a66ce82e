"""A side network cut from the tower at random."""

import torch


def first_weights(backbone):
    return backbone.strategy.side.stages[0].blocks[0].attn.qkv.weight


def test_random_is_a_seeded_subset_and_differs_from_scratch(build):
    a, b, c = (build("SIDE.INIT", "random", "SIDE.SEED", seed) for seed in (1, 1, 2))
    assert torch.equal(first_weights(a), first_weights(b)) and not torch.equal(first_weights(a), first_weights(c))
    source = a.tower.block_weights(a.strategy.side.layout.stage_taps()[0][0]).q
    assert torch.isin(first_weights(a).chunk(3)[0], source).all()
    assert not torch.isin(first_weights(build()), source).any()
