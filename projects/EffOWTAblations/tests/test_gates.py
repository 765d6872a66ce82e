"""Gates: their limits, their start and their kinds."""

import math

import pytest
import torch
from effowt_ablations.gates import ChannelGate, FixedGate, SumGate
from helpers.messages import raises


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)


@pytest.mark.parametrize("logit,chosen", [(math.inf, 0), (100.0, 0), (-math.inf, 1), (-100.0, 1)])
def test_limits_choose_one_side_and_ignore_the_other(logit, chosen, maps):
    g = ChannelGate(channels=3)
    torch.nn.init.constant_(g.logit, logit)
    inputs = [m.requires_grad_() for m in maps]
    h = g(*inputs)
    assert torch.equal(h, inputs[chosen])
    grads = torch.autograd.grad(h.sum(), inputs)
    assert (grads[chosen] == 1).all() and (grads[1 - chosen] == 0).all()


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_channel_gates_start_at_the_given_value(temperature, maps):
    g = ChannelGate(channels=3, value=0.8, temperature=temperature)
    assert g.logit.shape == (3,)
    torch.testing.assert_close(g.value(), torch.full((3,), 0.8))
    torch.testing.assert_close(g(*maps), 0.8 * maps[0] + 0.2 * maps[1])


def test_channels_have_gates_of_their_own(maps):
    g = ChannelGate(channels=3)
    with torch.no_grad():
        g.logit.copy_(torch.tensor([math.inf, -math.inf, 0.0]))
    h = g(*maps)
    assert torch.equal(h[:, 0], maps[0][:, 0]) and torch.equal(h[:, 1], maps[1][:, 1])
    torch.testing.assert_close(h[:, 2], (maps[0] + maps[1])[:, 2] / 2)


@pytest.mark.parametrize("value", [0, 0.25, 0.5, 1])
def test_fixed(value, maps):
    g = FixedGate(channels=3, value=value)
    assert not list(g.parameters()) and g.value().item() == value
    torch.testing.assert_close(g(*maps), value * maps[0] + (1 - value) * maps[1])


def test_sum(maps):
    g = SumGate(channels=3)
    assert not list(g.parameters())
    assert torch.equal(g(*maps), maps[0] + maps[1])


@pytest.mark.parametrize("gate,value", [(ChannelGate, 1), (FixedGate, 1.5), (FixedGate, -0.1)])
def test_values_out_of_range(gate, value):
    with raises(ValueError, "value", value):
        gate(channels=3, value=value)
