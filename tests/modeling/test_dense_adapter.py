"""Dense adapters: both variants, their links from block to block, and the golden numbers of the released one."""

import numpy as np
import pytest
import torch
from helpers.golden import below, golden
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone

from effowt_d2.modeling.peft import DenseAdapterMethod, DenseAdapters, LoRAMethod, PaperAdapters, ReleasedAdapters
from effowt_d2.modeling.tokens import SparseReduction
from effowt_d2.modeling.tower import build_tower

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
VARIANTS = {"paper": PaperAdapters, "released": ReleasedAdapters}


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture
def build(tiny):
    def build(variant="paper", *, trained=True, **settings):
        torch.manual_seed(0)
        tower = build_tower(tiny, "", allow_random=True, canvas=8)
        DenseAdapterMethod(variant=variant, dim=8, **settings).apply(tower)
        if trained:
            with torch.no_grad():
                for parameter in tower.companions.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
        return tower

    return build


@pytest.mark.parametrize("variant", VARIANTS)
def test_zero_start_is_the_plain_tower_to_the_bit(build, tiny, variant):
    torch.manual_seed(0)
    plain = build_tower(tiny, "", allow_random=True, canvas=8)
    tower = build(variant, trained=False)
    assert isinstance(tower.companions["peft"], VARIANTS[variant])
    assert all(torch.equal(a, b) for a, b in zip(tower(IMAGES), plain(IMAGES)))
    assert not torch.allclose(build(variant)(IMAGES)[-1], plain(IMAGES)[-1], atol=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_the_adapters_and_nothing_else(build, variant):
    tower = build(variant).train()
    tower(IMAGES)[-1].square().sum().backward()
    grads = {name: p.grad for name, p in tower.companions["peft"].named_parameters()}
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads.values())
    assert all(p.grad is None for p in tower.trunk.parameters())


def test_counts_of_the_papers_figure():
    paper = PaperAdapters(768, 12, dim=32)
    assert [len(adapter["down"]) for adapter in paper.blocks] == [1, 2, 2, *[3] * 9]
    assert size(paper) == 44 * 768 * 32
    released = ReleasedAdapters(768, 12)
    assert size(released) == 1_314_432 and size(released.blocks[0]) == 109_536


def test_the_papers_links_reach_one_and_three_blocks_back(build):
    adapters = build().companions["peft"]
    x, earlier = torch.randn(1, 5, 64), {n: torch.randn(1, 5, 64) for n in range(3)}
    hidden = sum(part @ down.weight.T for part, down in zip((x, earlier[2], earlier[0]), adapters.blocks[3]["down"]))
    torch.testing.assert_close(adapters.output(3, x, earlier), hidden.relu() @ adapters.blocks[3]["up"].weight.T)
    torch.testing.assert_close(adapters.output(1, x, earlier), adapters.output(1, x, {0: earlier[0]}))
    # a long link is live
    tower = build()
    before = tower(IMAGES)[-1]
    torch.nn.init.zeros_(tower.companions["peft"].blocks[3]["down"][2].weight)
    assert (tower(IMAGES)[-1] - before).abs().max() > 1e-3


def test_the_scale_is_a_factor_of_every_output(build):
    x = torch.randn(1, 5, 64)

    def first(tower):
        pass_ = tower.companions["peft"].start()
        tokens = tower.embed(IMAGES[:1])
        return pass_.beside_feed(0, type(tokens)(x, 1, (2, 2)))

    torch.testing.assert_close(first(build(scale=3.0)), 3 * first(build()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_stored_outputs_follow_their_tokens(build, variant):
    tower = build(variant)
    bank = tower.companions["peft"]
    seen = {}

    class Watch(torch.nn.Module):
        def start(self):
            pass_ = bank.start()
            whole = pass_.beside_feed

            def watched(number, tokens):
                added = whole(number, tokens)
                seen[number] = {n: tuple(d.shape) for n, d in pass_.earlier.items()}
                return added

            pass_.beside_feed = watched
            return pass_

    tower.companions["peft"] = Watch()
    tower.companions["tokens"] = SparseReduction(tower=tower, blocks=[1, 3], keep_rates=[0.5, 0.5])
    taps = tower(IMAGES)
    # 16 tokens, then 8 and the fused one, then half of these and another
    lengths = {0: 17, 1: 10, 2: 10, 3: 7}
    assert all(shape == (2, lengths[n], 64) for n, shapes in seen.items() for shape in shapes.values())
    assert taps[-1].shape == (2, 64, 4, 4) and taps[-1].isfinite().all()


def load(adapters, weights, number):
    adapters.blocks[number].load_state_dict(below(weights, f"blocks.{number}.adaptmlp."))


@pytest.fixture(scope="module")
def released():
    """The golden file, and its adapters."""
    tensors = golden("sparse_tuning/sparse_tuning")
    adapters = ReleasedAdapters(32, 12, dim=8)
    weights = {name: value.float() for name, value in below(tensors, "weights/").items()}
    for number in range(12):
        load(adapters, weights, number)
    return tensors, adapters


@pytest.mark.parametrize("run", ["r10", "r07", "r05", "r07_nofuse"])
def test_golden_outputs_of_every_recorded_block(released, run):
    tensors, adapters = released
    compared = 0
    for number in range(12):
        recorded = below(tensors, f"{run}/block{number:02d}.")
        if "adapter_in" in recorded:
            found = adapters.output(number, recorded["adapter_in"], {})
            torch.testing.assert_close(found, recorded["adapter_out"], atol=1e-4, rtol=1e-5)
            compared += 1
    assert compared >= 3


def test_golden_sums_at_the_ends_of_stages(released):
    tensors, adapters = released
    blocks = {n: below(tensors, f"r07/block{n:02d}.") for n in range(12)}
    outputs = {n: block["adapter_out"] for n, block in blocks.items()}
    for last, behind in ((5, blocks[6]["in"]), (8, blocks[9]["in"]), (11, tensors["r07/norm_in"])):
        sums = adapters.added(last, {n: outputs[n] for n in range(last - 2, last + 1)}) - outputs[last]
        torch.testing.assert_close(behind - blocks[last]["out"], sums, atol=1e-4, rtol=0)
    # within a stage there is nothing but the block's own
    assert adapters.added(4, outputs) is outputs[4]


def test_golden_adapter_at_its_real_width():
    tensors = below(golden("sparse_tuning/sparse_tuning"), "adapter768/")
    adapters, random = ReleasedAdapters(768, 4), np.random.RandomState(6999)
    for name in ("down1", "down2", "down3", "up1", "up2"):
        layer = adapters.blocks[0][name]
        for tensor in (layer.weight.data, layer.bias.data):
            drawn = random.standard_normal(tensor.numel()) / tensor.shape[-1] ** 0.5
            tensor.copy_(torch.from_numpy(drawn).reshape(tensor.shape))
    x = torch.from_numpy(random.standard_normal((1, 5, 768))).float()
    torch.testing.assert_close(x, tensors["in"])
    torch.testing.assert_close(adapters.output(0, x, {}), tensors["out"], atol=1e-4, rtol=1e-4)


def test_the_config_chooses_and_the_header_names(tiny):
    keys = ("MODEL.PEFT.METHOD", "dense_adapter", "MODEL.PEFT.ADAPTER.VARIANT", "released")
    tower = tiny_backbone(tiny, *keys, "MODEL.PEFT.ADAPTER.DIM", 4, "MODEL.PEFT.ADAPTER.SCALE", 0.5).tower
    assert isinstance(tower.companions["peft"], ReleasedAdapters)
    assert tower.attached["peft"] == {"method": "dense_adapter", "variant": "released", "dim": 4, "scale": 0.5}


def test_adapters_that_cannot_be(tiny, build):
    with raises(ValueError, "dim", 65, 64):
        PaperAdapters(64, 4, dim=65)
    with raises(ValueError, "variant", 4, 6):
        ReleasedAdapters(64, 6)
    with raises(ValueError, "variant", "figure", ["paper", "released"]):
        DenseAdapterMethod(variant="figure")
    with raises(ValueError, tiny, "dense_adapter"):
        LoRAMethod(rank=2).apply(build())
    assert issubclass(PaperAdapters, DenseAdapters)
