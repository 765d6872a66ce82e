"""Blocks, stem and transition: the same on the valid area with and without padding, for every make-up."""

import pytest
import torch

from effowt_d2.modeling.layers.masks import valid_mask
from effowt_d2.modeling.layers.norms import channel_norm
from effowt_d2.modeling.side.block import DenseMLP, SideBlock, Stem, Transition
from effowt_d2.modeling.side.sparse_interaction import SparseInteraction

CPU = torch.device("cpu")
CANVAS = (96, 160)
SIZE = (50, 101)  # no multiples of any stride


def mask_of(stride, canvas=CANVAS):
    return valid_mask([SIZE], canvas, stride, CPU)


def cells(stride):
    return -(-SIZE[0] // stride), -(-SIZE[1] // stride)


def on_canvas(x, size, fill=0.0):
    """The map in the top left of a canvas that holds ``fill`` elsewhere."""
    padded = torch.full((*x.shape[:2], *size), fill)
    padded[:, :, : x.shape[2], : x.shape[3]] = x
    return padded


def block(sparse, window=4):
    torch.manual_seed(0)
    interaction = SparseInteraction(16, groups=2, max_range=5) if sparse else DenseMLP(channels=16, hidden=32)
    return SideBlock(channels=16, num_heads=2, window=window, interaction=interaction)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("window", [0, 4])
def test_block_padding_changes_nothing(sparse, window):
    side_block = block(sparse, window)
    h, w = cells(4)
    x = torch.randn(1, 16, h, w)
    size = (CANVAS[0] // 4, CANVAS[1] // 4)
    # the padding holds anything: earlier blocks zero it, but a block does not rely on that
    out = side_block(on_canvas(x, size, fill=7.0), mask_of(4))
    torch.testing.assert_close(out[:, :, :h, :w], side_block(x), atol=1e-5, rtol=0)
    assert (out[:, :, h:] == 0).all() and (out[:, :, :, w:] == 0).all()


@pytest.mark.parametrize("sparse", [False, True])
def test_an_empty_image_beside_a_full_one_gives_zeros(sparse):
    mask = torch.zeros(2, 6, 7, dtype=torch.bool)
    mask[0] = True
    x = torch.randn(2, 16, 6, 7, requires_grad=True)
    side_block = block(sparse)
    out = side_block(x, mask)
    out.square().sum().backward()
    assert (out[1] == 0).all() and (out[0] != 0).any()
    assert x.grad.isfinite().all() and all(p.grad.isfinite().all() for p in side_block.parameters())


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("sparse", [False, True])
def test_maps_of_one_row_or_column(size, sparse):
    out = block(sparse)(torch.randn(2, 16, *size))
    assert out.shape == (2, 16, *size) and out.isfinite().all()


@pytest.mark.parametrize("sparse", [False, True])
def test_block_size(sparse):
    """Reference layout of ViT-L-14: 344,544 with SIM at stride 4, 532,224 dense with rho = 2 at stride 8."""
    interaction = SparseInteraction(256) if sparse else DenseMLP(channels=256, hidden=512)
    made = SideBlock(channels=256, num_heads=4, window=16, interaction=interaction)
    assert made.sparse is sparse
    assert sum(p.numel() for p in made.parameters()) == (344544 if sparse else 532224)


@pytest.mark.parametrize("sparse", [False, True])
def test_block_under_autocast(sparse):
    x = torch.randn(1, 16, 6, 10, requires_grad=True)
    side_block = block(sparse)
    exact = side_block(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = side_block(x)
    out.float().sum().backward()
    torch.testing.assert_close(out.float(), exact, atol=0.1, rtol=0.1)
    assert x.grad.isfinite().all()


def test_channel_norm_normalises_the_channels_of_each_cell():
    y = channel_norm(8)(5 + 3 * torch.randn(2, 8, 3, 4))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


def test_stem_padding_changes_nothing():
    torch.manual_seed(0)
    stem = Stem(channels=16)
    image = torch.randn(1, 3, *SIZE)
    small = (64, 128)  # the least canvas: a multiple of 32
    alone = stem(on_canvas(image, small), mask_of(2, small), mask_of(4, small))
    padded = stem(on_canvas(image, CANVAS), mask_of(2), mask_of(4))
    assert padded.shape == (1, 16, CANVAS[0] // 4, CANVAS[1] // 4)
    h, w = cells(4)
    assert (alone[:, :, :h, :w] != 0).any()
    torch.testing.assert_close(padded[:, :, :h, :w], alone[:, :, :h, :w], atol=1e-5, rtol=0)
    # nor does the padding that the least canvas has itself
    torch.testing.assert_close(padded[:, :, :h, :w], stem(image, None, None), atol=1e-5, rtol=0)
    assert (padded[:, :, h:] == 0).all() and (padded[:, :, :, w:] == 0).all()


@pytest.mark.parametrize("channels,expected", [(256, 10240), (352, 13600)])
def test_stem_size(channels, expected):
    assert sum(p.numel() for p in Stem(channels=channels).parameters()) == expected


def test_transition_padding_changes_nothing():
    torch.manual_seed(0)
    transition = Transition(channels=16)
    h, w = cells(4)
    x = torch.randn(1, 16, h, w)
    small = (64, 128)
    alone = transition(on_canvas(x, (16, 32)), mask_of(8, small))
    padded = transition(on_canvas(x, (24, 40)), mask_of(8))
    h, w = cells(8)
    torch.testing.assert_close(padded[:, :, :h, :w], alone[:, :, :h, :w], atol=1e-5, rtol=0)
    assert (padded[:, :, h:] == 0).all() and (padded[:, :, :, w:] == 0).all()
