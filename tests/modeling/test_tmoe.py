"""TMoE: against a loop over experts and the golden layer of SPMTrack, its reductions to LoRA, and its gates in the log."""

import math

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils.events import EventStorage
from helpers.golden import below, golden
from helpers.messages import raises
from helpers.tiny_timm import update_state

from effowt_d2.modeling.peft import LoRA, TMoE, TMoEMethod, gate_statistics, log_gates, merge
from effowt_d2.modeling.tower import build_tower

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
FORMS = {"plain": {}, "rank_stabilised": {"scale_rule": "sqrt_rank"}, "ungated": {"ungated_expert": True}}
FORMS["many_A"] = {"route_compression": True}


def make(i=24, o=40, **options):
    torch.manual_seed(0)
    return TMoE(i, o, **{"rank": 4, "alpha": 8, "num_experts": 3, **options})


def looped(layer, x):
    """Expert after expert."""
    gates = F.linear(x, layer.router.weight).softmax(-1)
    downs, ups = layer.A.split(layer.rank), layer.B.split(layer.rank, dim=1)
    y = 0
    for number, up in enumerate(ups):
        y = y + gates[..., number, None] * (x @ downs[number % len(downs)].T @ up.T)
    if layer.ungated is not None:
        y = y + x @ layer.A.T @ layer.ungated.T
    return layer.scale * y


@pytest.mark.parametrize("form", FORMS)
def test_one_product_is_the_loop_forward_and_backward(form):
    layer, x = make(**FORMS[form]), torch.randn(2, 7, 24)
    grads = []
    for run in (layer, lambda x: looped(layer, x)):
        layer.zero_grad()
        y = run(x)
        y.square().sum().backward()
        grads.append((y.detach(), *(p.grad for p in layer.parameters())))
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_golden_layer_with_gates_and_gradients(form):
    file = golden("spmtrack/tmoe")
    tensors, layer = below(file, f"{form}."), make(**FORMS[form])
    layer.load_state_dict(update_state(below(tensors, "tmoe.")))
    x = file["x"].clone().requires_grad_()
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(F.linear(x, layer.router.weight).softmax(-1), tensors["gates"], **close)
    y = F.linear(x, tensors["linear.weight"], tensors["linear.bias"]) + layer(x)
    torch.testing.assert_close(y, tensors["out"], **close)
    (y * file["grad_out"]).sum().backward()
    recorded = below(tensors, "grad.")
    gradients = update_state(below(recorded, "tmoe."))
    found = {name: p.grad for name, p in layer.named_parameters()} | {"x": x.grad}
    assert found.keys() == gradients.keys() | {"x"}
    for name, value in {**gradients, "x": recorded["x"]}.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-6 * float(value.abs().max()) + 1e-6)


def test_golden_fused_layer():
    file = golden("spmtrack/tmoe")
    parts = []
    for role in "qkv":
        tensors, layer = below(file, f"qkv.{role}."), make(24, 24)
        layer.load_state_dict(update_state(below(tensors, "tmoe.")))
        parts.append(F.linear(file["x"], tensors["linear.weight"], tensors["linear.bias"]) + layer(file["x"]))
    torch.testing.assert_close(torch.cat(parts, -1), file["qkv.out"], rtol=1e-4, atol=1e-5)


def test_one_expert_is_lora():
    layer, lora = make(num_experts=1), LoRA(24, 40, rank=4, alpha=8)
    lora.load_state_dict({"A": layer.A.data, "B": layer.B.data})
    x = torch.randn(5, 24)
    torch.testing.assert_close(layer(x), lora(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(layer.delta(), lora.delta(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_a_zero_router_is_lora_with_the_mean_expert(form):
    layer, x = make(**FORMS[form]), torch.randn(5, 24)
    with raises(ValueError, "method", 3):
        layer.delta()
    torch.nn.init.zeros_(layer.router.weight)
    torch.testing.assert_close(F.linear(x, layer.delta()), layer(x), rtol=1e-4, atol=1e-6)


def test_equal_experts_make_the_router_irrelevant():
    layer, x = make(), torch.randn(5, 24)
    layer.B.data = layer.B.data[:, :4].repeat(1, 3)
    layer(x).square().sum().backward()
    assert float(layer.router.weight.grad.abs().max()) < 1e-6 < float(layer.A.grad.abs().max())


def test_the_order_of_experts_is_free_and_gates_depend_on_the_token():
    layer, x = make(), torch.randn(2, 24)
    torch.nn.init.normal_(layer.router.weight)
    expected = layer(x)
    assert (layer(2 * x) - 2 * expected).abs().max() > 1e-3
    layer.B.data = torch.cat(layer.B.data.split(4, dim=1)[::-1], dim=1)
    layer.router.weight.data = layer.router.weight.data.flip(0)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-6)


@pytest.fixture
def tower(tiny):
    torch.manual_seed(0)
    tower = build_tower(tiny, "", allow_random=True, canvas=8)
    TMoEMethod(rank=4, num_experts=3).apply(tower)
    return tower.train()


def test_every_expert_and_router_gets_a_gradient(tower):
    tower(IMAGES)[-1].square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in tower.adapters.parameters())
    assert all(p.grad is None for p in tower.trunk.parameters())


def test_a_mixture_is_not_merged_and_nothing_was_changed(tower):
    before = {key: value.clone() for key, value in tower.state_dict().items()}
    with raises(ValueError, "tmoe", 3):
        merge(tower)
    assert not tower.merged and all(torch.equal(value, before[key]) for key, value in tower.state_dict().items())


def test_gates_are_logged_and_a_collapsed_router_is_seen(tower):
    tower(IMAGES)
    found = gate_statistics(tower)
    assert 0.9 * math.log(3) < found["peft/gate_entropy"] <= math.log(3) + 1e-6
    assert 1 / 3 <= found["peft/largest_fraction"] < 0.5
    router = tower.adapters["0"]["q"].router
    with torch.no_grad():
        # all tokens of that layer go to one expert
        router.weight.zero_()
        tower.trunk.transformer.resblocks[0].ln_1.bias.fill_(1.0)
        tower.trunk.transformer.resblocks[0].ln_1.weight.zero_()
        router.weight[0] = 1
    with EventStorage(20) as storage:
        tower(IMAGES)
        log_gates(tower)
    assert storage.latest()["peft/largest_fraction"][0] == pytest.approx(1)
    assert storage.latest()["peft/gate_entropy"][0] < found["peft/gate_entropy"]
    with EventStorage(21) as storage:
        log_gates(tower)
    assert not storage.latest()
    log_gates(tower)  # outside of a training loop


def test_mixtures_that_cannot_be():
    with raises(ValueError, "num_experts", 0):
        make(num_experts=0)
    with raises(ValueError, "ungated_expert", "route_compression"):
        make(route_compression=True, ungated_expert=True)
    with raises(ValueError, "rank", 25, 24):
        make(rank=25)
