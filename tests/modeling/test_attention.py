"""Attention on maps: keys of padding are never seen, whatever the size and the windows."""

import pytest
import torch
from helpers.messages import raises

from effowt_d2.modeling.layers.attention import WindowAttention, attend, partition, unpartition


def attention(window=4, channels=16, num_heads=2):
    torch.manual_seed(0)
    return WindowAttention(channels=channels, num_heads=num_heads, window=window)


def test_attend_leaves_masked_keys_out():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 6, 8)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True, False] * 3])
    out = attend(q, k, v, mask)
    for i in range(2):
        keys, values = k[i][:, mask[i]], v[i][:, mask[i]]
        expected = (q[i] @ keys.transpose(1, 2) / 8**0.5).softmax(-1) @ values
        torch.testing.assert_close(out[i], expected, atol=1e-6, rtol=0)


def test_attend_without_any_key_is_finite():
    q = torch.randn(1, 1, 3, 4, requires_grad=True)
    out = attend(q, q, q, torch.zeros(1, 3, dtype=torch.bool))
    out.sum().backward()
    assert out.isfinite().all() and q.grad.isfinite().all()


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (1, 10), (3, 3)])
def test_partition_and_back(size):
    x = torch.randn(2, *size, 5)
    windows = partition(x, 4)
    assert windows.shape == (2 * -(-size[0] // 4) * -(-size[1] // 4), 16, 5)
    assert torch.equal(windows[0].reshape(4, 4, 5)[: size[0], : size[1]], x[0, :4, :4])
    assert torch.equal(unpartition(windows, 4, x.shape), x)


def test_windows_are_attended_one_by_one():
    attn = attention()
    x = torch.randn(1, 8, 8, 16)
    out = attn(x)
    for i, j in [(0, 0), (4, 4), (0, 4)]:
        alone = attn(x[:, i : i + 4, j : j + 4])
        torch.testing.assert_close(out[:, i : i + 4, j : j + 4], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("size", [(7, 9), (4, 4), (1, 10), (3, 11), (5, 1)])
def test_padding_changes_nothing(window, size):
    attn = attention(window)
    x = torch.randn(1, *size, 16)
    canvas, mask = torch.randn(1, 12, 16, 16), torch.zeros(1, 12, 16, dtype=torch.bool)
    canvas[:, : size[0], : size[1]], mask[:, : size[0], : size[1]] = x, True
    out = attn(canvas, mask)
    # windows wholly on the padding have no key at all
    assert out.isfinite().all()
    torch.testing.assert_close(out[:, : size[0], : size[1]], attn(x), atol=1e-5, rtol=0)


def test_a_map_that_fits_in_a_window_is_attended_globally():
    windowed, whole = attention(8), attention(0)
    x = torch.randn(1, 8, 5, 16)
    torch.testing.assert_close(windowed(x), whole(x), atol=0, rtol=0)


def test_heads_that_do_not_divide_the_channels():
    with raises(ValueError, 3, 16):
        attention(num_heads=3)
