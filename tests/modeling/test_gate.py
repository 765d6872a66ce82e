"""The learnable gate: its limits, its start and its temperature."""

import math

import pytest
import torch
from helpers.messages import raises

from effowt_d2.modeling.side.gate import Gate


def gate(**options):
    return Gate(channels=3, **options)


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)


@pytest.mark.parametrize("logit,chosen", [(math.inf, 0), (100.0, 0), (-math.inf, 1), (-100.0, 1)])
def test_limits_choose_one_side_and_ignore_the_other(logit, chosen, maps):
    g = gate()
    torch.nn.init.constant_(g.logit, logit)
    inputs = [m.requires_grad_() for m in maps]
    h = g(*inputs)
    assert torch.equal(h, inputs[chosen])
    grads = torch.autograd.grad(h.sum(), inputs)
    assert (grads[chosen] == 1).all() and (grads[1 - chosen] == 0).all()


def test_half_is_the_mean(maps):
    torch.testing.assert_close(gate()(*maps), (maps[0] + maps[1]) / 2)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_starts_at_the_given_value(temperature, maps):
    g = gate(value=0.8, temperature=temperature)
    assert g.logit.numel() == 1
    torch.testing.assert_close(g.value(), torch.full_like(g.logit, 0.8))
    torch.testing.assert_close(g(*maps), 0.8 * maps[0] + 0.2 * maps[1])


def test_the_temperature_sharpens():
    warm, cold = gate(temperature=1.0), gate(temperature=0.1)
    for g in (warm, cold):
        torch.nn.init.constant_(g.logit, 0.2)
    assert warm.value().item() == pytest.approx(1 / (1 + math.exp(-0.2)))
    assert cold.value().item() == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize(
    "options,words",
    [
        (dict(value=0), ["value", "got 0"]),
        (dict(value=1.5), ["value", "1.5"]),
        (dict(temperature=0), ["temperature", "got 0"]),
    ],
)
def test_bad_options(options, words):
    with raises(ValueError, *words):
        gate(**options)
