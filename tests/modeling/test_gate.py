"""Gates: their limits, their start and their kinds."""

import math

import pytest
import torch
from helpers.messages import raises

from effowt_d2.modeling.side.gate import GATE_KINDS, Gate


def gate(kind="learnable", value=0.5, temperature=0.1):
    return Gate(kind=kind, channels=3, temperature=temperature, value=value)


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)


@pytest.mark.parametrize("kind", ["learnable", "channel"])
@pytest.mark.parametrize("logit,chosen", [(math.inf, 0), (100.0, 0), (-math.inf, 1), (-100.0, 1)])
def test_limits_choose_one_side_and_ignore_the_other(kind, logit, chosen, maps):
    g = gate(kind)
    torch.nn.init.constant_(g.logit, logit)
    inputs = [m.requires_grad_() for m in maps]
    h = g(*inputs)
    assert torch.equal(h, inputs[chosen])
    grads = torch.autograd.grad(h.sum(), inputs)
    assert (grads[chosen] == 1).all() and (grads[1 - chosen] == 0).all()


@pytest.mark.parametrize("kind", ["learnable", "channel", "fixed"])
def test_half_is_the_mean(kind, maps):
    torch.testing.assert_close(gate(kind)(*maps), (maps[0] + maps[1]) / 2)


@pytest.mark.parametrize("kind", ["learnable", "channel"])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_trained_kinds_start_at_the_given_value(kind, temperature, maps):
    g = gate(kind, 0.8, temperature)
    assert g.logit.numel() == (1 if kind == "learnable" else 3)
    torch.testing.assert_close(g.value(), torch.full_like(g.logit, 0.8))
    torch.testing.assert_close(g(*maps), 0.8 * maps[0] + 0.2 * maps[1])


def test_the_temperature_sharpens():
    warm, cold = gate(temperature=1.0), gate(temperature=0.1)
    for g in (warm, cold):
        torch.nn.init.constant_(g.logit, 0.2)
    assert warm.value().item() == pytest.approx(1 / (1 + math.exp(-0.2)))
    assert cold.value().item() == pytest.approx(1 / (1 + math.exp(-2)))


def test_channels_have_gates_of_their_own(maps):
    g = gate("channel")
    with torch.no_grad():
        g.logit.copy_(torch.tensor([math.inf, -math.inf, 0.0]))
    h = g(*maps)
    assert torch.equal(h[:, 0], maps[0][:, 0]) and torch.equal(h[:, 1], maps[1][:, 1])
    torch.testing.assert_close(h[:, 2], (maps[0] + maps[1])[:, 2] / 2)


@pytest.mark.parametrize("value", [0, 0.25, 1])
def test_fixed(value, maps):
    g = gate("fixed", value)
    assert not list(g.parameters()) and g.value().item() == value
    torch.testing.assert_close(g(*maps), value * maps[0] + (1 - value) * maps[1])


def test_sum(maps):
    g = gate("sum")
    assert not list(g.parameters())
    assert torch.equal(g(*maps), maps[0] + maps[1])


@pytest.mark.parametrize(
    "options,words",
    [
        (dict(kind="hard"), ["'hard'", *GATE_KINDS]),
        (dict(value=0), ["learnable", "inside [0, 1]", "0"]),
        (dict(kind="channel", value=1), ["channel", "inside [0, 1]", "1"]),
        (dict(kind="fixed", value=1.5), ["in [0, 1]", "1.5"]),
        (dict(kind="fixed", value=-0.1), ["-0.1"]),
        (dict(temperature=0), ["temperature is positive", "0"]),
    ],
)
def test_bad_options(options, words):
    with raises(ValueError, *words):
        gate(**options)
