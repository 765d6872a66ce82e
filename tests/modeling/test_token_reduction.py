"""Towers that run on fewer tokens: which, where they stand, what a map holds, padding, errors."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import tiny_timm  # noqa: F401  registers its models
from helpers.messages import raises
from helpers.tiny_eva import SWITCHES, detector_state, detector_trunk, register_tiny_evas
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from effowt_d2.modeling.tokens import MergeReduction, SparseReduction
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.hooks import BlockHook
from effowt_d2.modeling.tower.tokens import NO_CELL

TOWERS = ["tiny-vit", *SWITCHES, "detector"]
"""The last has no class token, and rotary positions of its own in windows."""
WINDOWS = {"window": 2, "global_blocks": [0, 2]}
GRID = (6, 4)
KINDS = {"sparse": SparseReduction, "merge": MergeReduction}


@pytest.fixture
def build(tiny, tmp_path):
    """Makes a tower of three or four blocks."""
    register_tiny_evas(tmp_path)

    def build(name, **settings):
        torch.manual_seed(0)
        if name != "detector":
            return build_tower(name, "", allow_random=True, canvas=8, **settings)
        torch.save({"model": detector_state(detector_trunk("tiny-eva02"))}, tmp_path / "eva.pth")
        return build_tower("tiny-eva02", str(tmp_path / "eva.pth"), canvas=8, **settings)

    return build


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 16 * GRID[0], 16 * GRID[1])


def reduced(tower, kind=SparseReduction, **settings):
    """The tower, and its reduction."""
    settings = {"blocks": [0], "keep_rates": [0.5], **settings}
    if settings.get("fuse") is False:
        settings.setdefault("rebuild", "hold")
    tower.companions["tokens"] = kind(tower=tower, **settings)
    return tower, tower.companions["tokens"]


class Spy(BlockHook):
    """Notes the tokens that enter each MLP, and the attention that was computed."""

    def __init__(self):
        self.seen, self.heads = {}, {}

    def after_attention(self, number, tokens, q, k):
        self.heads[number] = (q, k)

    def beside_feed(self, number, tokens):
        self.seen[number] = tokens


def watched(tower, images, mask=None, **settings):
    spy = Spy()
    tokens, taps = tower.run(tower.embed(images, mask), range(tower.depth), [spy])
    return spy, tokens, taps


@pytest.mark.parametrize("settings", [{}, WINDOWS], ids=["global", "windows"])
@pytest.mark.parametrize("name", ["tiny-vit", "detector"])
def test_a_rate_of_1_changes_no_bit(build, images, name, settings):
    plain = build(name, **settings)(images)
    tower, _ = reduced(build(name, **settings), keep_rates=[1.0])
    for a, b in zip(plain, tower(images)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_that_keeps_all_tokens_by_rounding_changes_no_bit(build, images, kind):
    plain = build("tiny-vit")(images)
    tower, _ = reduced(build("tiny-vit"), KINDS[kind], keep_rates=[0.99])
    for a, b in zip(plain, tower(images)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("rate", [0.9, 0.7, 0.3])
def test_every_block_runs_on_the_tokens_of_the_recurrence(build, images, rate, fuse):
    tower, _ = reduced(build("tiny-vit"), blocks=[1, 2], keep_rates=[rate], fuse=fuse)
    spy, _, _ = watched(tower, images)
    length, lengths = math.prod(GRID), []
    for number in range(4):
        if number in (1, 2):
            length = math.ceil(rate * length) + fuse
        lengths.append(1 + length)
    assert [spy.seen[number].x.shape[1] for number in range(4)] == lengths


def test_the_tokens_that_the_class_token_attends_to_most_stay(build, images):
    plain = build("tiny-vit")
    spy, _, _ = watched(plain, images)
    q, k = spy.heads[1]
    row = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1).mean(1)[:, 0, 1:]
    tower, _ = reduced(build("tiny-vit"), blocks=[1], fuse=False)
    _, tokens, _ = watched(tower, images)
    assert torch.equal(tokens.cells, row.topk(math.prod(GRID) // 2).indices.sort().values)


@pytest.mark.parametrize("score", ["mean", "learned"])
def test_without_a_class_token_the_mean_query_selects(build, images, score):
    tower, _ = reduced(build("detector"), score=score)
    _, tokens, _ = watched(tower, images)
    spy, _, _ = watched(build("detector"), images)
    q, k = spy.heads[0]
    row = (q.mean(2, keepdim=True) @ k.mT * q.shape[-1] ** -0.5).softmax(-1).mean(1)[:, 0]
    assert torch.equal(tokens.cells[:, :-1], row.topk(12).indices.sort().values)
    assert (tokens.cells[:, -1] == NO_CELL).all()


class Oracle(BlockHook):
    """Hides what another run dropped from all later attention, instead of taking it out."""

    def __init__(self, number, kept):
        self.number, self.kept = number, kept

    def after_attention(self, number, tokens, q, k):
        if number == self.number:
            return replace(tokens, valid=self.kept), lambda rows: rows


@pytest.mark.parametrize("settings", [{}, {"window": 2, "global_blocks": [0]}], ids=["global", "windows"])
@pytest.mark.parametrize("name", [*TOWERS, "timm://tiny_dinov2_reg"])
def test_taking_tokens_out_equals_hiding_them(build, images, name, settings):
    tower, _ = reduced(build(name, **settings), fuse=False)
    _, tokens, taps = watched(tower, images)
    kept = torch.zeros(2, math.prod(GRID), dtype=torch.bool).scatter(1, tokens.cells, True)
    plain = build(name, **settings)
    hidden = plain.run(plain.embed(images), [plain.depth - 1], [Oracle(0, kept)])[1][0]
    kept = kept.unflatten(1, GRID)[:, None].expand_as(hidden)
    torch.testing.assert_close(taps[-1][kept], hidden[kept], atol=2e-5, rtol=0)
    assert taps[-1][~kept].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [{}, {**WINDOWS, "window": 4}], ids=["global", "windows"])
@pytest.mark.parametrize("name", TOWERS)
def test_padding_and_company_change_nothing(build, name, settings, kind):
    torch.manual_seed(2)
    tower, reduction = reduced(build(name, **settings), KINDS[kind], blocks=[0, 2], keep_rates=[0.6])
    for gate in reduction.parameters():
        torch.nn.init.ones_(gate)
    images = torch.randn(2, 3, 128, 112)
    mask = torch.zeros(2, 8, 7, dtype=torch.bool)
    mask[0, :5, :6] = mask[1, :8, :5] = True
    images = images * mask.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None]
    together = tower(images, mask)
    for b, (rows, columns) in enumerate([(5, 6), (8, 5)]):
        alone = tower(images[b : b + 1, :, : 16 * rows, : 16 * columns])
        for one, both in zip(alone, together):
            torch.testing.assert_close(both[b, :, :rows, :columns], one[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("settings", [{}, WINDOWS], ids=["global", "windows"])
def test_dropped_cells_hold_their_last_value_and_others_have_their_token(build, images, settings):
    tower, _ = reduced(build("tiny-vit", **settings), rebuild="hold")
    _, tokens, taps = watched(tower, images)
    first, last = taps[0].flatten(2).mT, taps[-1].flatten(2).mT
    for b in range(2):
        there = tokens.cells[b] != NO_CELL
        kept = tokens.cells[b][there]
        assert torch.equal(last[b, kept], tokens.patches[b, there])
        others = sorted(set(range(24)) - set(kept.tolist()))
        assert len(others) == 12 and torch.equal(last[b, others], first[b, others])


def test_dropped_cells_follow_their_fused_token(build, images):
    tower, _ = reduced(build("tiny-vit"))
    spy, tokens, taps = watched(tower, images)
    fused = tokens.x[:, -1:] - spy.seen[0].x[:, -1:]
    held, last = spy.seen[0].dense().flatten(2).mT, taps[-1].flatten(2).mT
    dropped = torch.ones(2, 24, dtype=torch.bool).scatter(1, tokens.cells[:, :-1], False)
    torch.testing.assert_close((last - held)[dropped], fused.expand_as(last)[dropped], atol=1e-5, rtol=0)
    assert fused.abs().mean() > 0.1


def test_merged_cells_move_alike(build, images):
    tower, _ = reduced(build("tiny-vit"), MergeReduction)
    _, tokens, taps = watched(tower, images)
    assert tokens.x.shape[1] == 1 + 12
    first, last = taps[0].flatten(2).mT, taps[-1].flatten(2).mT
    for b in range(2):
        merged = tokens.cells[b, -4:]
        for cell in merged.tolist():
            window = [cell, cell + 1, cell + GRID[1], cell + GRID[1] + 1]
            change = last[b, window] - first[b, window]
            torch.testing.assert_close(change, change[:1].expand_as(change), atol=1e-5, rtol=0)


def test_the_gate_starts_at_zero_and_learns(build, images):
    tower, reduction = reduced(build("tiny-vit"))
    _, tokens, taps = watched(tower, images)
    assert [name for name, p in tower.named_parameters() if p.requires_grad] == ["companions.tokens.gate"]
    taps[-1].square().mean().backward()
    assert reduction.gate.grad.abs().sum() > 0 and not tokens.x.requires_grad
    with torch.no_grad():
        reduction.gate += 1
    dropped = torch.ones(2, 24, dtype=torch.bool)
    dropped.scatter_(1, tokens.cells[:, :-1], False)
    difference = (tower(images)[-1] - taps[-1]).abs().sum(1).flatten(1)
    assert (difference[dropped] > 0).all() and not difference[~dropped].any()


def test_a_learned_query_gets_a_gradient(build, images):
    tower, reduction = reduced(build("tiny-vit"), score="learned")
    tower(images)[-1].square().mean().backward()
    (offset,) = reduction.offsets.values()
    assert offset.grad.abs().sum() > 0
    before = watched(tower, images)[1].cells
    with torch.no_grad():
        offset += 5 * torch.randn_like(offset)
    assert not torch.equal(watched(tower, images)[1].cells, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rounded_tower_runs(build, images, kind):
    tower, _ = reduced(build("tiny-vit", precision="bfloat16"), KINDS[kind])
    taps = tower.finalise()(images)
    assert all(tap.dtype is torch.float32 and tap.isfinite().all() for tap in taps)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_takes_out_nearly_the_same_tokens(build, images, kind):
    tower, _ = reduced(build("tiny-vit"), KINDS[kind])
    expected, _ = tower.run(tower.embed(images))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, taps = tower.run(tower.embed(images), [3])
    assert taps[0].isfinite().all() and found.x.shape == expected.x.shape
    assert (found.cells == expected.cells).float().mean() > 0.8


def test_two_reductions_of_one_tower_are_refused(build, images):
    tower, _ = reduced(build("tiny-vit"))
    tower.companions["second"] = SparseReduction(tower=tower, blocks=[1], keep_rates=[0.5])
    with raises(RuntimeError, 1):
        tower(images)


def test_default_blocks_cut_the_depth_in_four(build, tiny):
    with torch.device("meta"):
        for settings, blocks in (({}, [3, 6, 9]), ({"window": 16}, [3, 7])):
            tower = build_tower("ViT-B-16", "", **settings)
            assert list(SparseReduction(tower=tower).rates) == blocks
    assert SparseReduction(tower=build("tiny-vit")).rates == {1: 0.7, 2: 0.7}


WRONG = [
    ("keep_rates", 0, {"keep_rates": [0]}),
    ("keep_rates", 1.5, {"keep_rates": [1.5]}),
    ("keep_rates", -0.5, {"blocks": [0, 1], "keep_rates": [0.5, -0.5]}),
    ("keep_rates", [0, 1], {"blocks": [0, 1], "keep_rates": [0.5] * 3}),
    ("keep_rates", 0.9, {"window": 2, "keep_rates": [0.9]}),
    ("blocks", 4, {"blocks": [0, 4]}),
    ("blocks", [2, 0], {"blocks": [2, 0]}),
    ("blocks", -1, {"blocks": [-1]}),
    ("window", 9, {"window": 9}),
    ("window", -1, {"window": -1}),
    ("score", "loudest", {"score": "loudest"}),
    ("score", "learned", {"score": "learned", "fuse": False}),
    ("rebuild", "blur", {"rebuild": "blur"}),
    ("rebuild", "follow", {"rebuild": "follow", "fuse": False}),
]


@pytest.mark.parametrize("argument, shown, settings", WRONG)
def test_arguments_that_do_not_fit_are_refused(build, argument, shown, settings):
    with raises(ValueError, argument, shown):
        reduced(build("tiny-vit"), **settings)


WRONG_MERGES = [
    ("merge_window", 1, {"merge_window": 1}),
    ("merge_window", 9, {"merge_window": 9}),
    ("merge_window", 3, {"merge_window": 3, "window": 4}),
    ("merge_threshold", 1.5, {"merge_threshold": 1.5}),
    ("keep_rates", 0.2, {"keep_rates": [0.2]}),
    ("keep_rates", 0.7, {"keep_rates": [0.7], "merge_window": 3, "window": 3}),
]


@pytest.mark.parametrize("argument, shown, settings", WRONG_MERGES)
def test_merges_that_do_not_fit_are_refused(build, argument, shown, settings):
    with raises(ValueError, argument, shown):
        reduced(build("tiny-vit"), MergeReduction, **settings)


def test_what_a_tower_lacks_is_named(build):
    with raises(ValueError, "score", "class", "mean"):
        reduced(build("detector"), score="class")
    with raises(ValueError, "blocks", [1], [0, 2]):
        reduced(build("tiny-eva01", **WINDOWS), blocks=[1])
    with raises(ValueError, "window", 2, 3):
        reduced(build("tiny-eva01", **WINDOWS), window=3)


def flops(tower):
    """Multiply-adds on 224 pixels; torch counts each as two operations."""
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            tower(torch.empty(1, 3, 224, 224), taps=[11])
    return counter.get_total_flops() // 2


def test_a_vit_b_at_keep_rate_70_percent_does_66_percent_of_the_work():
    with torch.device("meta"):
        tower = build_tower("ViT-B-16", "", canvas=0)
        dense = flops(tower)
        tower.companions["tokens"] = SparseReduction(tower=tower, keep_rates=[0.7])
    assert dense == pytest.approx(17.56e9, rel=0.01)
    count = flops(tower)
    assert count == pytest.approx(11.61e9, rel=0.01) and 0.62 <= count / dense <= 0.70
