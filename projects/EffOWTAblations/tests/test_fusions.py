"""Fusions: the weights of each level, and that padding has no part in them."""

import pytest
import torch
from effowt_ablations.fusions import LastFusion, MeanFusion, SoftmaxFusion

from effowt_d2.modeling.layers.masks import valid_mask
from effowt_d2.modeling.side.fusion import WeightedFusion

STRIDES = (4, 8, 16)
KINDS = [SoftmaxFusion, MeanFusion, LastFusion]


def make(kind, **options):
    torch.manual_seed(0)
    return kind(channels=8, out_channels=16, **options)


def stages(canvas=(64, 96)):
    torch.manual_seed(1)
    return [torch.randn(1, 8, canvas[0] // s, canvas[1] // s) for s in STRIDES]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_weights_sum_to_one(kind):
    made = make(kind)
    if kind is SoftmaxFusion:
        torch.nn.init.normal_(made.weight)
    weights = made.weights()
    assert weights.shape == (3, 1 if kind is LastFusion else 3) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(3))


@pytest.mark.parametrize("kind", [SoftmaxFusion, MeanFusion])
def test_starts_as_the_weighted_fusion_does(kind):
    made, weighted = make(kind), make(WeightedFusion)
    for level, expected in zip(made(stages(), [None] * 3), weighted(stages(), [None] * 3)):
        torch.testing.assert_close(level, expected, atol=1e-3, rtol=1e-3)
    assert hasattr(made, "weight") == (kind is SoftmaxFusion)


def test_softmax_weights_are_trained():
    made = make(SoftmaxFusion)
    sum(level.square().sum() for level in made(stages(), [None] * 3)).backward()
    assert (made.weight.grad != 0).any()


def test_last_uses_the_coarsest_stage_only():
    made = make(LastFusion)
    assert len(made.laterals) == 1 and not hasattr(made, "weight")
    maps = [m.requires_grad_() for m in stages()]
    levels = made(maps, [None] * 3)
    assert [tuple(level.shape[-2:]) for level in levels] == [(16, 24), (8, 12), (4, 6)]
    grads = torch.autograd.grad(sum(level.square().sum() for level in levels), maps, allow_unused=True)
    assert grads[0] is None and grads[1] is None and (grads[2] != 0).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output_conv", [False, True])
def test_padding_changes_nothing(kind, output_conv):
    made, size = make(kind, output_conv=output_conv), (50, 90)
    masks = [valid_mask([size], (64, 96), s, torch.device("cpu")) for s in STRIDES]
    large = [valid_mask([size], (96, 160), s, torch.device("cpu")) for s in STRIDES]
    maps = stages()
    padded = [torch.full((1, 8, 96 // s, 160 // s), 5.0) for s in STRIDES]
    for p, m in zip(padded, maps):
        p[:, :, : m.shape[2], : m.shape[3]] = m
    for s, alone, level in zip(STRIDES, made(maps, masks), made(padded, large)):
        h, w = -(-size[0] // s), -(-size[1] // s)
        assert (alone[:, :, :h, :w] != 0).any()
        torch.testing.assert_close(level[:, :, :h, :w], alone[:, :, :h, :w], atol=1e-5, rtol=0)
