"""Fusion: the weights of each level, the levels that are made, and that padding has no part in it."""

import pytest
import torch
import torch.nn.functional as F

from effowt_d2.modeling.layers.masks import valid_mask
from effowt_d2.modeling.side.fusion import WeightedFusion

STRIDES = (4, 8, 16)


def fusion(**options):
    torch.manual_seed(0)
    return WeightedFusion(channels=8, out_channels=16, **options)


def stages(canvas=(64, 96)):
    torch.manual_seed(1)
    return [torch.randn(1, 8, canvas[0] // s, canvas[1] // s) for s in STRIDES]


def test_rows_of_weights_sum_to_one():
    made = fusion()
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, 0.5], [-1.0, -1.0, 2.0]]))
    weights = made.weights()
    assert weights.shape == (3, 3) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(3), atol=1e-4, rtol=0)
    assert weights[0, 1] == 0 and weights[0, 2].item() == pytest.approx(3 / 4, abs=1e-4)


def test_starts_as_the_mean():
    made, maps = fusion(output_conv=False), stages()
    levels = made(maps, [None] * 3)
    for level, stage in zip(levels, maps):
        size = stage.shape[-2:]
        resized = []
        for lateral, m in zip(made.laterals, maps):
            p = lateral(m)
            larger = size[0] >= p.shape[-2]
            resized.append(F.interpolate(p, size, mode="bilinear") if larger else F.adaptive_avg_pool2d(p, size))
        torch.testing.assert_close(level, sum(resized) / 3, atol=1e-3, rtol=0)


@pytest.mark.parametrize("levels", [(1,), (1, 2), (0, 2)])
def test_levels_that_are_not_asked_for_are_not_made(levels):
    every, some = fusion(), fusion(levels=levels)
    assert set(some.outputs) == {str(level) for level in levels}
    some.load_state_dict({key: value for key, value in every.state_dict().items() if key in some.state_dict()})
    made, maps = every(stages(), [None] * 3), some(stages(), [None] * 3)
    assert len(maps) == len(levels) and all(torch.equal(made[k], x) for k, x in zip(levels, maps))


@pytest.mark.parametrize("output_conv", [False, True])
def test_padding_changes_nothing(output_conv):
    made, size = fusion(output_conv=output_conv), (50, 90)
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
        assert (level[:, :, h:] == 0).all() and (level[:, :, :, w:] == 0).all()


def test_a_full_mask_is_no_mask():
    made, maps = fusion(), stages()
    full = [torch.ones(1, *m.shape[-2:], dtype=torch.bool) for m in maps]
    for masked, plain in zip(made(maps, full), made(maps, [None] * 3)):
        torch.testing.assert_close(masked, plain, atol=1e-5, rtol=0)


def test_weights_are_trained():
    made = fusion()
    sum(level.square().sum() for level in made(stages(), [None] * 3)).backward()
    assert (made.weight.grad != 0).any()


def test_size():
    """Reference layout of ViT-L-14: laterals 197,376, output convolutions 206,592, 9 weights."""
    made = WeightedFusion(channels=256)
    assert sum(p.numel() for p in made.parameters()) == 197376 + 206592 + 9
