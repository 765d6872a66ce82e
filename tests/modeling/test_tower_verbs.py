"""A tower in verbs: embed, run with hooks between the halves of blocks, and sites where adapters plug in."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.messages import raises
from helpers.tiny_eva import SWITCHES, register_tiny_evas
from torch import nn

from effowt_d2.modeling.tower import NO_CELL, BlockHook, Tokens, attention_row, build_tower
from effowt_d2.modeling.tower.windows import key_mask

TOWERS = ["tiny-vit", "tiny-vit-14", *SWITCHES, "RealCLIP-S-16"]


@pytest.fixture
def build(tiny, tmp_path):
    register_tiny_evas(tmp_path)

    def build(name, **settings):
        torch.manual_seed(0)
        return build_tower(name, "", allow_random=True, canvas=8, **settings)

    return build


def padded_batch():
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    mask[0, :, 4:] = False
    return torch.randn(2, 3, 64, 96, generator=generator), mask


class Watch(BlockHook):
    """Keeps what it saw."""

    def __init__(self):
        self.seen = []

    def after_attention(self, number, tokens, q, k):
        self.seen.append((tokens, q, k))


@pytest.mark.parametrize("name", TOWERS)
def test_halves_with_a_hook_between_are_the_whole_block(build, name):
    tower, watch = build(name), Watch()
    images, mask = padded_batch()
    tokens = tower.embed(images, mask)
    assert tokens.x.shape == (2, tower.prefix + 24, tower.embed_dim) and tokens.grid == (4, 6)
    last, taps = tower.run(tokens, [0, tower.depth - 1], [watch])
    whole = tower(images, mask)
    assert torch.equal(taps[0], whole[0]) and torch.equal(taps[1], whole[-1]) and torch.equal(last.dense(), whole[-1])
    assert len(watch.seen) == tower.depth
    # without taps all blocks run
    assert torch.equal(tower.run(tokens)[0].x, last.x)


@pytest.mark.parametrize("name", TOWERS)
def test_one_row_of_attention_is_that_of_the_whole_matrix(build, name):
    tower, watch = build(name), Watch()
    tokens = tower.embed(*padded_batch())
    tower.run(tokens, [1], [watch])
    _, q, k = watch.seen[1]
    keys = key_mask(tokens.valid, tokens.prefix)
    full = (q @ k.transpose(-2, -1) / k.shape[-1] ** 0.5).masked_fill(~keys, float("-inf")).softmax(-1)
    row = attention_row(q[:, :, :1], k, keys)
    torch.testing.assert_close(row, full[:, :, 0], rtol=1e-4, atol=1e-6)
    assert not row[0, :, tower.prefix + 4 : tower.prefix + 6].any() and row[1].all()


class KeepFirst(BlockHook):
    """Drops all but the first cells before one block's MLP, and adds one token of no cell: the mean of the dropped."""

    def __init__(self, block, count):
        self.block, self.count, self.shapes = block, count, []

    def after_attention(self, number, tokens, q, k):
        if number != self.block:
            return None
        kept = tokens.prefix + self.count

        def rows(x):
            return torch.cat([x[:, :kept], x[:, kept:].mean(1, keepdim=True)], dim=1)

        cells = torch.arange(self.count).expand(len(tokens.x), -1)
        cells = F.pad(cells, (0, 1), value=NO_CELL)
        self.held = tokens.patches

        def rebuild(patches):
            return torch.cat([patches[:, : self.count], self.held[:, self.count :]], dim=1)

        return replace(tokens, x=rows(tokens.x), cells=cells, rebuild=rebuild), rows

    def reduced(self, rows):
        self.rows = rows

    def beside_feed(self, number, tokens):
        self.shapes.append(tokens.x.shape[1])


@pytest.mark.parametrize("name", TOWERS)
def test_a_hook_makes_the_tokens_fewer_and_the_map_stays_whole(build, name):
    tower, other = build(name), KeepFirst(None, 0)
    tokens = tower.embed(torch.randn(2, 3, 64, 96))
    hook, watch = KeepFirst(1, 10), Watch()
    last, taps = tower.run(tokens, [0, 1, 2], [hook, other, watch])
    full, short = tower.prefix + 24, tower.prefix + 11
    assert hook.shapes == [full, short, short] and torch.equal(hook.rows(tokens.x), other.rows(tokens.x))
    dense = tower.run(tokens, [0])[1]
    assert torch.equal(taps[0], dense[0]) and taps[2].shape == taps[0].shape
    # dropped cells hold what they were, kept ones have their last token
    assert torch.equal(taps[2].flatten(2)[..., 10:], hook.held[:, 10:].transpose(1, 2))
    assert torch.equal(taps[2].flatten(2)[..., :10], last.patches[:, :10].transpose(1, 2))
    # q and k of the first hook's block no longer fit the tokens that the second one sees
    assert [q is None for _, q, _ in watch.seen] == [False, True, False]


def test_a_token_of_no_cell_is_not_turned(build):
    tower = build("tiny-eva02")
    turns = tower.turns((4, 6), windowed=False)
    cells = torch.tensor([[3, NO_CELL, 0]])
    found = tower.turns((4, 6), windowed=False, cells=cells)
    sine, cosine = found[0, 1].chunk(2)
    assert torch.equal(found[0, 0], turns[3]) and torch.equal(found[0, 2], turns[0])
    assert not sine.any() and (cosine == 1).all()


def test_reduced_tokens_of_unknown_windows_do_not_run_in_windows(build):
    tower = build("tiny-vit", window=3)
    with raises(ValueError, "window", 0, 1):
        tower.run(tower.embed(torch.randn(1, 3, 64, 96)), [2], [KeepFirst(0, 4)])


def test_attention_in_windows_joins_before_the_hooks(build):
    tower, watch = build("tiny-eva01", window=3, global_blocks=[2]), Watch()
    tower.run(tower.embed(*padded_batch()), [2], [watch])
    assert [q is None for _, q, _ in watch.seen] == [True, True, False]
    assert all(tokens.x.shape[1] == tower.prefix + 24 for tokens, _, _ in watch.seen)


@pytest.mark.parametrize("name", TOWERS)
def test_sites_are_the_linear_layers_in_their_order(build, name):
    tower = build(name)
    sites, width = tower.sites(tower.blocks[0]), tower.embed_dim
    assert list(sites)[:6] == ["q", "k", "v", "proj", "fc1", "fc2"]
    assert [(s.out_features, s.in_features) for s in list(sites.values())[:4]] == [(width, width)] * 4
    rows = {"q": 0, "k": 1, "v": 2}
    for role, site in sites.items():
        torch.testing.assert_close(site.matrix, tower.block_weights(0).__dict__[role])
        if site.rows is not None:
            assert torch.equal(site.matrix, site.weight.chunk(3)[rows[role]])
    assert ("gate" in sites) == (name == "tiny-eva02")


@pytest.mark.parametrize("name", TOWERS)
def test_an_adapter_adds_to_its_site_as_other_weights_would(build, name):
    tower, images = build(name), padded_batch()
    plain = tower(*images)[-1]
    for role, site in tower.sites(tower.blocks[1]).items():
        delta = nn.Linear(site.in_features, site.out_features, bias=False)
        nn.init.normal_(delta.weight, std=0.2)
        tower.adapters["1"] = nn.ModuleDict({role: delta})
        adapted = tower(*images)[-1]
        del tower.adapters["1"]
        with torch.no_grad():
            before = site.matrix.clone()
            site.matrix.add_(delta.weight)
            expected = tower(*images)[-1]
            site.matrix.copy_(before)
        change, error = (adapted - plain).abs().max(), (adapted - expected).abs().max()
        assert change > 1e-4 and error < 0.01 * change, role
    assert torch.equal(tower(*images)[-1], plain)


def test_native_stride_does_not_scale_images(tiny):
    torch.manual_seed(0)
    tower = build_tower("tiny-vit-14", "", allow_random=True, canvas=0, stride=14)
    images = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        expected = tower.trunk.forward_intermediates(images, intermediates_only=True)["image_intermediates"]
    for tap, reference in zip(tower(images), expected):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=0)
    with raises(ValueError, 14, 64):
        tower(torch.randn(1, 3, 64, 56))
    with raises(ValueError, "stride", 8, 16, 14):
        build_tower("tiny-vit-14", "", allow_random=True, stride=8)


def test_a_longer_prefix_runs_along(build):
    tower = build("tiny-vit")
    one, two = (tower.embed(torch.randn(1, 3, 32, 48)) for _ in range(2))
    joined = Tokens(torch.cat([one.patches, two.patches], dim=1), one.patches.shape[1], two.grid)
    last, (tap,) = tower.run(joined, [3])
    assert tap.shape == (1, 64, 2, 3) and torch.equal(tap, last.dense())
    assert not torch.allclose(tap, tower.run(replace(two, x=two.patches, prefix=0), [3])[1][0])
