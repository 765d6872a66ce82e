"""Towers in half precision and compiled: how near they stay, and that checkpoints and pruning do not notice."""

import importlib.util
import shutil

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from helpers.tiny_eva import SWITCHES, register_tiny_evas
from torch._dynamo.utils import counters

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.modeling.tower import build_tower

# of the largest value in a tap: bfloat16 has 8 bits of mantissa and float16 has 11, and errors add up over the blocks
TOLERANCE = {"bfloat16": 0.02, "float16": 0.003}


def make(name, **settings):
    torch.manual_seed(0)
    return build_tower(name, "", allow_random=True, canvas=8, **settings).finalise()


def padded_batch():
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    mask[0, :, 4:] = False
    return torch.randn(2, 3, 64, 96, generator=generator), mask


def tower_bytes(tower):
    return sum(p.numel() * p.element_size() for p in tower.parameters())


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize(
    "name, window",
    [("tiny-vit", 0), ("tiny-vit", 3), ("tiny-vit-14", 0), *((n, 3) for n in SWITCHES)],
)
def test_taps_in_half_precision_are_near(tiny, tmp_path, name, window, precision):
    register_tiny_evas(tmp_path)
    expected, rounded = make(name, window=window), make(name, window=window, precision=precision)
    for reference, tap in zip(expected(*padded_batch()), rounded(*padded_batch())):
        assert tap.dtype is torch.float32 and not torch.equal(tap, reference)
        assert (tap - reference).abs().max() < TOLERANCE[precision] * reference.abs().max()
    assert 2 * tower_bytes(rounded) == tower_bytes(expected)
    assert rounded.weights_hash() == expected.weights_hash()


def test_taps_within_autocast_have_its_dtype(tiny):
    tower, alone = make(tiny, precision="float16"), make(tiny, precision="float16")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        taps = tower(*padded_batch())
    for tap, reference in zip(taps, alone(*padded_batch())):
        # computed in the tower's own format all the same
        assert tap.dtype is torch.bfloat16 and torch.equal(tap, reference.bfloat16())


def test_checkpoints_fit_both_precisions(tiny, tmp_path):
    images = torch.randn(1, 3, 64, 64)
    half, single = tiny_backbone(tiny, "MODEL.VLM.PRECISION", "bfloat16"), tiny_backbone(tiny)
    with torch.inference_mode():
        half(images), single(images)
    for parameter in half.strategy.parameters():
        parameter.data.add_(1.0)
    EffOWTCheckpointer(half, str(tmp_path)).save("half")
    EffOWTCheckpointer(single).load(str(tmp_path / "half.pth"))
    EffOWTCheckpointer(tiny_backbone(tiny, "MODEL.VLM.PRECISION", "bfloat16")).load(str(tmp_path / "half.pth"))
    for parameter, loaded in zip(half.strategy.parameters(), single.strategy.parameters()):
        assert loaded.dtype is torch.float32 and torch.equal(loaded, parameter)
    # a model that ran in inference mode first still trains
    half.train()(images)["p2"].sum().backward()


def test_pruning_reads_the_full_precision(tiny):
    options = ("MODEL.SIDE.INIT", "l1")
    full, rounded = tiny_backbone(tiny, *options), tiny_backbone(tiny, *options, "MODEL.VLM.PRECISION", "bfloat16")
    weights = full.strategy.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in rounded.strategy.state_dict().items())
    # and it would make a difference
    matrix = full.strategy.side.stages[0].blocks[0].attn.qkv.weight
    assert not torch.equal(matrix, matrix.bfloat16().float())
    assert rounded.tower.block_weights(0).q.dtype is torch.bfloat16


def test_side_network_learns_beside_a_rounded_tower(tiny):
    model = tiny_backbone(tiny, "MODEL.VLM.PRECISION", "bfloat16").train()
    levels = model(torch.randn(2, 3, 64, 96), image_sizes=[(64, 64), (64, 96)])
    sum(level.square().mean() for level in levels.values()).backward()
    assert all(p.grad.dtype is torch.float32 and p.grad.isfinite().all() for p in model.strategy.parameters())
    assert all(p.grad is None for p in model.tower.parameters())


def test_precisions_that_cannot_be(tiny):
    with raises(ValueError, "precision", "int8", "float32", "bfloat16", "float16"):
        make(tiny, precision="int8")
    with raises(ValueError, "MODEL.VLM.PRECISION", "bfloat16", "SOLVER.AMP"):
        tiny_backbone(tiny, "MODEL.VLM.PRECISION", "bfloat16", "MODEL.TRANSFER.STRATEGY", "full")


@pytest.mark.parametrize("name", ["tiny-vit", *SWITCHES])
def test_compiled_blocks_give_the_same_taps(tiny, tmp_path, name):
    register_tiny_evas(tmp_path)
    torch._dynamo.reset()
    counters.clear()
    plain, compiled = make(name), make(name, compile_backend="aot_eager")
    for reference, tap in zip(plain(*padded_batch()), compiled(*padded_batch())):
        torch.testing.assert_close(tap, reference, atol=1e-6, rtol=0)
    # the probe, one graph for all blocks, and one more where the first block's input lies in memory otherwise
    assert counters["stats"]["unique_graphs"] in (2, 3)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    assert compiled.weights_hash() == plain.weights_hash()


def test_compiled_tower_trains_and_is_rounded(tiny):
    compiled, plain = (make(tiny, frozen=False, compile_backend=backend) for backend in ("aot_eager", ""))
    for tower in (compiled, plain):
        tower(*padded_batch())[-1].square().sum().backward()
    for one, other in zip(compiled.parameters(), plain.parameters()):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)
    half = [make(tiny, precision="bfloat16", compile_backend=backend) for backend in ("aot_eager", "")]
    torch.testing.assert_close(*(tower(*padded_batch())[-1] for tower in half))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs the C++ compiler g++ for the CPU")
def test_inductor_gives_the_same_taps(tiny):
    for reference, tap in zip(make(tiny)(*padded_batch()), make(tiny, compile_backend="inductor")(*padded_batch())):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=0)


def test_a_backend_that_does_not_exist(tiny):
    with raises(ValueError, "compile_backend", "fast", "inductor"):
        make(tiny, compile_backend="fast")


@pytest.mark.skipif(importlib.util.find_spec("tvm") is not None, reason="tvm is installed, so that its backend works")
def test_a_backend_that_does_not_work_here(tiny):
    with raises(RuntimeError, "MODEL.VLM.COMPILE", "tvm", "cpu"):
        make(tiny, compile_backend="tvm")(*padded_batch())
