"""Selection, fusion and merging against numbers recorded from the releases of Sparse-Tuning and MustDrop."""

import pytest
import torch
import torch.nn.functional as F
from helpers.golden import below, golden, golden_manifest
from helpers.tiny_clip import register_clips

from effowt_d2.modeling.layers.groups import as_groups
from effowt_d2.modeling.tokens import SparseReduction
from effowt_d2.modeling.tokens.merge import SmallWindows, merge, window_similarity
from effowt_d2.modeling.tokens.rebuild import CellMap
from effowt_d2.modeling.tokens.select import select
from effowt_d2.modeling.tokens.windows import windows_of_map
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.hooks import attention_row
from effowt_d2.modeling.tower.tokens import Tokens

SPARSE_BLOCKS = (3, 6, 9)
WIDTH, HEADS = 32, 4
RUNS = {"r07": (0.7, True), "r05": (0.5, True), "r07_nofuse": (0.7, False)}


def class_scores(weights, number, x):
    """From the tokens that enter a block, with the release's weights."""
    block = below(weights, f"blocks.{number}.")
    x = F.layer_norm(x, (WIDTH,), block["norm1.weight"], block["norm1.bias"], 1e-6)
    qkv = F.linear(x, block["attn.qkv.weight"], block["attn.qkv.bias"])
    q, k, _ = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    return attention_row(q[:, :, :1], k).mean(1)[:, 1:]


@pytest.mark.parametrize("number", SPARSE_BLOCKS)
@pytest.mark.parametrize("run", RUNS)
def test_a_sparse_block_keeps_and_fuses_what_the_release_does(run, number):
    tensors = golden("sparse_tuning/sparse_tuning")
    weights = {name: value.float() for name, value in below(tensors, "weights/").items()}
    recorded = below(tensors, f"{run}/block{number:02d}.")
    rate, fuse = RUNS[run]
    scores = class_scores(weights, number, recorded["in"])
    torch.testing.assert_close(scores, recorded["cls_scores"], atol=1e-6, rtol=1e-4)
    step = select(scores, None, as_groups([scores.shape[1]]), rate, fuse=fuse)
    kept, by_position = recorded["topk_idx"].long().sort(1)
    assert torch.equal(step.kept, kept)
    attended = recorded["in"] + recorded["attn_out"]
    ours, theirs = step.apply(attended, prefix=1), recorded["adapter_in"]
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours[:, :1], theirs[:, :1], atol=1e-4, rtol=0)
    rows = torch.take_along_dim(theirs[:, 1:], by_position[..., None], 1)
    torch.testing.assert_close(ours[:, 1 : 1 + kept.shape[1]], rows, atol=1e-4, rtol=0)
    if fuse:
        # the release leaves the weights as they are, ours sum to 1
        dropped = scores.sum(1) - scores.gather(1, kept).sum(1)
        torch.testing.assert_close(ours[:, -1] * dropped[:, None], theirs[:, -1], atol=1e-4, rtol=0)
        assert (dropped < 0.5).all()


@pytest.fixture(scope="module")
def one_block(tmp_path_factory):
    """Makes a tower whose only block is one of the release's."""
    vision = {"image_size": 32, "layers": 1, "width": WIDTH, "head_width": WIDTH // HEADS, "patch_size": 4}
    register_clips(tmp_path_factory.mktemp("configs"), {"one-block": {"vision_cfg": {**vision, "mlp_ratio": 3.0}}})

    def make(weights, number):
        tower = build_tower("one-block", "", allow_random=True, canvas=8)
        block, recorded = tower.blocks[0], below(weights, f"blocks.{number}.")
        names = {"attn.in_proj_": "attn.qkv.", "attn.out_proj.": "attn.proj.", "ln_": "norm"}
        names.update({"mlp.c_fc.": "mlp.fc1.", "mlp.c_proj.": "mlp.fc2."})
        state = {}
        for name in block.state_dict():
            there = next(name.replace(ours, theirs) for ours, theirs in names.items() if name.startswith(ours))
            state[name] = recorded[there]
        block.load_state_dict(state)
        block.ln_1.eps = block.ln_2.eps = 1e-6
        return tower

    return make


@pytest.mark.parametrize("number", SPARSE_BLOCKS)
@pytest.mark.parametrize("run", RUNS)
def test_a_tower_runs_a_sparse_block_as_the_release_does(one_block, run, number):
    tensors = golden("sparse_tuning/sparse_tuning")
    tower = one_block({name: value.float() for name, value in below(tensors, "weights/").items()}, number)
    recorded = below(tensors, f"{run}/block{number:02d}.")
    rate, fuse = RUNS[run]
    tower.companions["tokens"] = SparseReduction(tower=tower, blocks=[0], keep_rates=[rate], fuse=fuse, rebuild="hold")
    x = recorded["in"]
    tokens, _ = tower.run(Tokens(x, prefix=1, grid=(1, x.shape[1] - 1)))
    kept, by_position = recorded["topk_idx"].long().sort(1)
    assert torch.equal(tokens.cells[:, : kept.shape[1]], kept) and tokens.x.shape == recorded["out"].shape
    # without what the adapter beside the MLP adds; the fused token's size is another one here
    theirs = recorded["out"] - recorded["adapter_out"]
    rows = torch.take_along_dim(theirs[:, 1:], by_position[..., None], 1)
    torch.testing.assert_close(tokens.x[:, 0], theirs[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(tokens.patches[:, : kept.shape[1]], rows, atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", SPARSE_BLOCKS)
def test_the_recorded_scores_of_a_vit_b_choose_the_recorded_tokens(number):
    recorded = below(golden("sparse_tuning/sparse_tuning"), f"full/block{number:02d}.")
    scores = recorded["cls_scores"]
    step = select(scores, None, as_groups([scores.shape[1]]), 0.7)
    assert torch.equal(step.kept, recorded["topk_idx"].long().sort(1)[0])


def run_merge(x, side, threshold, rate=0.01):
    """Of a square map without class token; every window above the threshold."""
    grid = (round(x.shape[1] ** 0.5),) * 2
    cells = windows_of_map(grid, 0)
    windows = SmallWindows.of_map(grid, side, 0)
    start = CellMap.of_map(len(x), x.shape[1], None, x.device)
    return windows.cells, merge(x, None, cells, rate, windows=windows, cells=start, threshold=threshold)


@pytest.mark.parametrize("case", ["w3_some", "w2_some", "w4_few", "w3_none", "w3_all"])
def test_merging_joins_the_windows_that_the_release_joins(case):
    recorded = below(golden("mustdrop/mustdrop"), f"merge_fn/{case}/")
    settings = golden_manifest("mustdrop")["merge_fn"][case]
    x = recorded["in"][:, 1:]
    side, count = settings["window"][0], settings["merged"]
    windows, step = run_merge(x, side, settings["threshold"])
    similarity = window_similarity(x[:, windows])
    torch.testing.assert_close(similarity, recorded["window_scores"], atol=1e-5, rtol=0)
    if not count:
        assert step is None
        return
    for number in range(len(x)):
        order = recorded["merged_window_order"][number].long()
        # ours merges all that reach the threshold; the release as many as the image with the fewest of them
        above = (similarity[number] >= settings["threshold"]).nonzero().flatten().tolist()
        assert set(order.tolist()) <= set(above)
        ours = step.apply(x)[number]
        merged = sorted(above)
        assert step.pooled[number, : len(merged), 0].tolist() == windows[merged, 0].tolist()
        pooled = ours[ours.shape[0] - step.pooled.shape[1] :]
        theirs = recorded["out"][number, 1 : 1 + count]
        ranks = torch.tensor([merged.index(window) for window in order.tolist()])
        torch.testing.assert_close(pooled[ranks], theirs, atol=1e-5, rtol=0)


def test_the_recorded_vision_layer_merges_alike():
    recorded = below(golden("mustdrop/mustdrop"), "vision/")
    x = recorded["layer00_out"][:, 1:]
    _, step = run_merge(x, 3, 0.8)
    count = int(recorded["num_merged_windows"])
    alone = step.kept.shape[1]
    assert step.pooled.shape[1] == count and torch.equal(step.kept, recorded["unmerged_patch_idx"].long())
    ours, theirs = step.apply(x), recorded["after_merge"][:, 1:]
    torch.testing.assert_close(ours[:, :alone], theirs[:, count:], atol=1e-5, rtol=0)
    by_position = recorded["merged_window_order"].long().argsort(1)
    rows = torch.take_along_dim(theirs[:, :count], by_position[..., None], 1)
    torch.testing.assert_close(ours[:, alone:], rows, atol=1e-5, rtol=0)
