"""Steps that shorten a sequence: how many tokens stay, which, what becomes of the others, and the map made of them."""

import math

import numpy as np
import pytest
import torch

from effowt_d2.modeling.layers.groups import as_groups
from effowt_d2.modeling.tokens.merge import SmallWindows, merge, window_similarity
from effowt_d2.modeling.tokens.rebuild import CellMap
from effowt_d2.modeling.tokens.select import quota, select
from effowt_d2.modeling.tokens.windows import windows_of_map

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def scores_of(batch, length):
    """Positive, all different."""
    return torch.rand(batch, length).softmax(-1)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("grid", [(8, 8), (7, 5), (12, 12), (1, 1)])
@pytest.mark.parametrize("rate", [1.0, 0.9, 0.7, 0.5, 0.3])
def test_the_number_of_tokens_follows_the_recurrence(rate, grid, fuse):
    length = grid[0] * grid[1]
    members = windows_of_map(grid, 0)
    for _ in range(3):
        kept = math.ceil(round(rate * length, 9))
        step = select(scores_of(2, length), None, members, rate, fuse=fuse)
        if kept == length:
            assert step is None
            return
        length = kept + fuse
        assert step.apply(torch.rand(2, 1 + members.max() + 1, 3), prefix=1).shape == (2, 1 + length, 3)
        assert step.sizes == (length,) and step.valid is None
        members = as_groups(step.sizes)


def test_a_quota_is_not_lifted_by_rounding():
    counts = np.arange(1, 2000)
    for percent in range(1, 101):
        assert (quota(counts, percent / 100) == -(-percent * counts // 100)).all()


def test_selection_is_the_brute_force_top_k_in_order_of_position():
    scores, x = scores_of(3, 40), torch.randn(3, 40, 5)
    step = select(scores, None, as_groups([40]), 0.6)
    out = step.apply(x)
    for b in range(3):
        best = sorted(range(40), key=lambda i: -scores[b, i])[:24]
        others = [i for i in range(40) if i not in best]
        assert step.kept[b].tolist() == sorted(best)
        torch.testing.assert_close(out[b, :24], x[b, sorted(best)], atol=0, rtol=0)
        weight = scores[b, others] / scores[b, others].sum()
        torch.testing.assert_close(out[b, 24], weight @ x[b, others])


def test_of_equal_scores_the_first_token_stays():
    step = select(torch.ones(1, 10), None, as_groups([10]), 0.3)
    assert step.kept.tolist() == [[0, 1, 2]]


def test_a_higher_rate_only_adds_tokens():
    scores = scores_of(1, 50)
    kept = [set(select(scores, None, as_groups([50]), rate).kept[0].tolist()) for rate in (0.2, 0.5, 0.8)]
    assert kept[0] < kept[1] < kept[2]


def test_a_fused_token_has_the_size_of_a_token_however_small_the_scores():
    x = torch.ones(1, 30, 4)
    for scores in (scores_of(1, 30) * 1e-6, torch.cat([torch.ones(1, 3), torch.zeros(1, 27)], 1)):
        torch.testing.assert_close(select(scores, None, as_groups([30]), 0.1).apply(x)[:, -1], torch.ones(1, 4))


@pytest.mark.parametrize("outer", [0, 4])
def test_every_window_keeps_its_own_quota(outer):
    grid, window = (6, 10), 2 if outer else 4
    members = windows_of_map(grid, window, outer)
    assert sorted(members[members >= 0].tolist()) == list(range(60))
    step = select(scores_of(2, 60), None, members, 0.5)
    rows, columns = torch.arange(60) // 10 // window, torch.arange(60) % 10 // window
    for b in range(2):
        for row, column in {(int(r), int(c)) for r, c in zip(rows, columns)}:
            there = ((rows == row) & (columns == column)).nonzero().flatten()
            assert step.stays[b, there].sum() == math.ceil(0.5 * len(there))
            # all that are dropped go to one token, of this window alone
            gone = step.moved[b, there][~step.stays[b, there]].unique()
            assert len(gone) <= 1
            assert set(gone.tolist()).isdisjoint(step.moved[b][(rows != row) | (columns != column)].tolist())
    # windows in one outer window follow each other, so that its tokens do
    of_outer = (members[:, 0] // 10 // 4) * 3 + members[:, 0] % 10 // 4
    assert of_outer.tolist() == sorted(of_outer.tolist()) or not outer


def on_canvas(x, grid, canvas):
    """(1, h * w, C) -> (1, H * W, C) with what was there in the top left, and noise elsewhere."""
    out = torch.rand(1, *canvas, x.shape[-1])
    out[:, : grid[0], : grid[1]] = x.unflatten(1, grid)
    valid = torch.zeros(1, *canvas, dtype=torch.bool)
    valid[:, : grid[0], : grid[1]] = True
    return out.flatten(1, 2), valid.flatten(1)


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("fuse", [True, False])
def test_padding_and_company_change_nothing_of_an_image(window, fuse):
    small, large, canvas = (5, 4), (6, 7), (6, 9)
    images = [(grid, torch.rand(1, grid[0] * grid[1], 5), scores_of(1, grid[0] * grid[1])) for grid in (small, large)]
    padded = [(on_canvas(x, grid, canvas), on_canvas(s[..., None], grid, canvas)[0][..., 0]) for grid, x, s in images]
    x, valid = (torch.cat([image[0][i] for image in padded]) for i in range(2))
    together = select(torch.cat([s for _, s in padded]), valid, windows_of_map(canvas, window), 0.6, fuse=fuse)
    out = together.apply(x)
    for b, (grid, own, scores) in enumerate(images):
        alone = select(scores, None, windows_of_map(grid, window), 0.6, fuse=fuse)
        assert not together.stays[b][~valid[b]].any()
        torch.testing.assert_close(out[b][together.valid[b]], alone.apply(own)[0])
    # one padded image alone needs no mask
    (x, valid), scores = padded[0]
    step = select(scores, valid, windows_of_map(canvas, window), 0.6, fuse=fuse)
    assert step.valid is None
    torch.testing.assert_close(step.apply(x)[0], out[0][together.valid[0]])


@pytest.mark.parametrize("window", [0, 4])
def test_slots_partition_the_tokens_at_every_stage(window):
    grid, x = (9, 7), torch.randn(2, 63, 4)
    cells, members = CellMap.of_map(2, 63, None, CPU), windows_of_map(grid, window)
    for _ in range(3):
        step = select(scores_of(2, x.shape[1]), None, members, 0.6)
        assert torch.equal(step.stays.sum(1), torch.full((2,), step.kept.shape[1]))
        assert (step.moved >= 0).all() and all(set(m.tolist()) == set(range(sum(step.sizes))) for m in step.moved)
        after = step.apply(x)
        cells = cells.after(step, x, after)
        assert (cells.slots >= 0).all()
        for b in range(2):
            own = cells.slots[b][cells.whole[b]]
            # a token of one cell stands for no other
            assert len(own) == len(own.unique()) and not set(own.tolist()) & set(
                cells.slots[b][~cells.whole[b]].tolist()
            )
        x, members = after, as_groups(step.sizes)


def test_a_map_holds_what_every_cell_was_last():
    grid, start = (4, 6), torch.randn(2, 24, 3)
    cells, members, x, expected = CellMap.of_map(2, 24, None, CPU), windows_of_map(grid, 0), start, start.clone()
    own = torch.arange(24).expand(2, -1)
    for depth in range(3):
        x = x + 1 + depth * torch.rand(3)
        for b in range(2):
            alive = own[b] >= 0
            expected[b, own[b][alive]] = x[b][alive]
        torch.testing.assert_close(cells.dense(x), expected, atol=0, rtol=0)
        step = select(scores_of(2, x.shape[1]), None, members, 0.5)
        after = step.apply(x)
        cells = cells.after(step, x, after)
        torch.testing.assert_close(cells.dense(after), expected, atol=0, rtol=0)
        # a gate of any size changes nothing right after a step
        if not depth:
            torch.testing.assert_close(cells.dense(after, torch.ones(3)), expected)
        own = torch.stack([torch.cat([own[b][step.kept[b]], torch.tensor([-1])]) for b in range(2)])
        x, members = after, as_groups(step.sizes)


def test_with_the_gate_open_a_dropped_cell_moves_with_the_token_that_stands_for_it():
    x = torch.randn(1, 20, 3)
    first = select(scores_of(1, 20), None, as_groups([20]), 0.5)
    shortened = first.apply(x)
    cells = CellMap.of_map(1, 20, None, CPU).after(first, x, shortened)
    moved = shortened + torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(cells.dense(moved, torch.ones(3)), x + torch.tensor([1.0, 2.0, 3.0]))
    # also where its fused token is folded into another one
    scores = torch.cat([scores_of(1, 10) + 1, torch.zeros(1, 1)], 1)
    second = select(scores, None, as_groups(first.sizes), 0.5)
    assert not second.stays[0, -1]
    again = second.apply(moved)
    cells = cells.after(second, moved, again)
    torch.testing.assert_close(cells.dense(again + 1, torch.ones(3)), x + torch.tensor([2.0, 3.0, 4.0]))
    torch.testing.assert_close(cells.dense(again + 1)[~cells.whole], cells.held[~cells.whole], atol=0, rtol=0)


def test_permuted_tokens_give_the_same_class_row_and_set():
    x, scores, order = torch.randn(1, 30, 4), scores_of(1, 30), torch.randperm(30)
    plain, permuted = (select(s, None, as_groups([30]), 0.4) for s in (scores, scores[:, order]))
    assert set(order[permuted.kept[0]].tolist()) == set(plain.kept[0].tolist())
    torch.testing.assert_close(permuted.apply(x[:, order])[:, -1], plain.apply(x)[:, -1])


def merged(x, valid, grid, side, rate, *, window=0, threshold=-1.0, cells=None, members=None):
    cells = cells or CellMap.of_map(len(x), grid[0] * grid[1], valid, CPU)
    windows = SmallWindows.of_map(grid, side, window)
    members = windows_of_map(grid, window) if members is None else members
    step = merge(x, valid, members, rate, windows=windows, cells=cells, threshold=threshold)
    return cells, step


def test_similarity_is_the_mean_cosine_of_all_pairs():
    x = torch.randn(3, 4, 5)
    brute = torch.zeros(3)
    for i in range(4):
        for j in range(4):
            if i != j:
                brute += torch.cosine_similarity(x[:, i], x[:, j], dim=-1) / 12
    torch.testing.assert_close(window_similarity(x), brute)


@pytest.mark.parametrize("window", [0, 4])
def test_merging_reaches_the_rate_and_can_be_undone(window):
    grid, x = (8, 10), torch.randn(2, 80, 6)
    cells, step = merged(x, None, grid, 2, 0.55, window=window)
    after = step.apply(x)
    assert step.valid is None and after.shape[1] == sum(step.sizes)
    for size, cells_there in zip(step.sizes, (windows_of_map(grid, window) >= 0).sum(1).tolist()):
        assert math.ceil(0.55 * cells_there) <= size < math.ceil(0.55 * cells_there) + 3
    cells = cells.after(step, x, after)
    torch.testing.assert_close(cells.dense(after, 1.0), x)
    # a merged token is the mean of its window, which broadcasting and merging again gives back
    standing = torch.take_along_dim(after, cells.slots[..., None], 1)
    torch.testing.assert_close(step.apply(standing), after)


def test_a_second_stage_merges_other_windows():
    grid, x = (8, 8), torch.randn(1, 64, 6)
    cells, step = merged(x, None, grid, 2, 0.7)
    after = step.apply(x)
    cells, members = cells.after(step, x, after), as_groups(step.sizes)
    _, second = merged(after, None, grid, 2, 0.5, cells=cells, members=members)
    last = second.apply(after)
    assert last.shape[1] < after.shape[1] and second.valid is None
    both = cells.after(second, after, last)
    torch.testing.assert_close(both.dense(last, 1.0), x)
    # no more than all windows: a quarter of the cells
    _, third = merged(after, None, grid, 2, 0.01, cells=cells, members=members)
    assert sum(third.sizes) == 16


def test_windows_with_padding_are_left_alone_and_company_changes_nothing():
    grid, canvas = (5, 4), (6, 8)
    x = torch.randn(1, 20, 6)
    alone = merged(x, None, grid, 2, 0.5)[1]
    (padded, valid), other = on_canvas(x, grid, canvas), torch.randn(1, 48, 6)
    together = merged(torch.cat([padded, other]), torch.cat([valid, torch.ones(1, 48).bool()]), canvas, 2, 0.5)[1]
    out = together.apply(torch.cat([padded, other]))
    torch.testing.assert_close(out[0][together.valid[0]], alone.apply(x)[0])
    assert not together.stays[0][~valid[0]].any()


def test_only_windows_above_the_threshold_merge():
    x = torch.randn(1, 36, 6)
    x[:, [0, 1, 6, 7]] = torch.ones(6)
    _, step = merged(x, None, (6, 6), 2, 0.1, threshold=0.99)
    assert step.pooled[0].tolist() == [[0, 1, 6, 7]]
    assert merged(x, None, (6, 6), 2, 0.1, threshold=1.1)[1] is None
    assert merged(x[:, :3], None, (1, 3), 2, 0.1)[1] is None
