"""Valid areas: which cells count, and that resizing and edges depend on them alone."""

import pytest
import torch
import torch.nn.functional as F
from helpers.messages import raises

from effowt_d2.modeling.layers.masks import apply_mask, extend_edges, masked_resize, valid_mask

CPU = torch.device("cpu")


def test_a_cell_is_valid_if_it_holds_any_pixel():
    mask = valid_mask([(16, 17), (15, 1), (32, 48)], (32, 48), 16, CPU)
    assert mask.shape == (3, 2, 3)
    assert mask[0].tolist() == [[True, True, False], [False, False, False]]
    assert mask[1].tolist() == [[True, False, False], [False, False, False]]
    assert mask[2].all()


@pytest.mark.parametrize("sizes", [None, [(32, 48)], [(31, 33), (17, 48)]])
def test_no_mask_where_every_cell_is_valid(sizes):
    assert valid_mask(sizes, (32, 48), 16, CPU) is None


def test_apply_mask_zeroes_the_outside_only():
    x, mask = torch.randn(2, 3, 4, 5), torch.rand(2, 4, 5) > 0.5
    y = apply_mask(x, mask)
    kept = mask[:, None].expand_as(x)
    assert torch.equal(y[kept], x[kept]) and (y[~kept] == 0).all()
    assert apply_mask(x, None) is x


@pytest.mark.parametrize("factor", [4, 2, 1, 0.5, 0.25])
def test_masked_resize_equals_resizing_the_crop(factor):
    torch.manual_seed(0)
    x, mask = torch.randn(1, 3, 16, 24), torch.zeros(1, 16, 24, dtype=torch.bool)
    mask[:, :8, :12] = True
    size, valid = (int(16 * factor), int(24 * factor)), (int(8 * factor), int(12 * factor))
    crop = x[:, :, :8, :12]
    if factor > 1:
        expected = F.interpolate(crop, scale_factor=factor, mode="bilinear", align_corners=False)
    else:
        expected = F.avg_pool2d(crop, int(1 / factor))
    actual = masked_resize(x, mask, size)[:, :, : valid[0], : valid[1]]
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)


def test_masked_resize_averages_the_valid_cells_of_a_partial_one():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :3, :3] = True
    expected = [[(0 + 1 + 4 + 5) / 4, (2 + 6) / 2], [(8 + 9) / 2, 10]]
    assert masked_resize(x, mask, (2, 2))[0, 0].tolist() == expected


@pytest.mark.parametrize("size", [(8, 8), (2, 2)])
def test_masked_resize_without_a_valid_cell_gives_zeros(size):
    out = masked_resize(torch.randn(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool), size)
    assert torch.equal(out, torch.zeros(1, 2, *size))


def test_uneven_shrinking_is_refused():
    with raises(ValueError, "5 x 6", "2 x 3"):
        masked_resize(torch.zeros(1, 1, 5, 6), None, (2, 3))


def test_extend_edges_repeats_the_last_valid_cells():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 7)
    mask = torch.zeros(2, 6, 7, dtype=torch.bool)
    mask[0, :4, :5], mask[1, :1, :7] = True, True
    extended, untouched = extend_edges([x, x], [mask, None])
    assert untouched is x
    torch.testing.assert_close(extended[0], F.pad(x[0, :, :4, :5], (0, 2, 0, 2), mode="replicate"), atol=0, rtol=0)
    torch.testing.assert_close(extended[1], x[1, :, :1].expand(3, 6, 7), atol=0, rtol=0)


def test_extend_edges_passes_gradients_to_the_edge():
    x = torch.zeros(1, 1, 3, 3, requires_grad=True)
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    mask[:, :2, :2] = True
    extend_edges([x], [mask])[0].sum().backward()
    assert x.grad[0, 0].tolist() == [[1, 2, 0], [2, 4, 0], [0, 0, 0]]
