"""Stages of a run: exclusive times, hooks on modules, and what happens when one fails."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from effowt_d2.inference import time_split
from effowt_d2.inference.time_split import TimeSplit, watch_model

CLOCK = SimpleNamespace(now=0.0, perf_counter=lambda: CLOCK.now)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Time that passes in spend() only: a busy machine would make these tests fail now and then."""
    monkeypatch.setattr(time_split, "time", CLOCK)


def spend(seconds=1.0):
    CLOCK.now += seconds


class Slow(nn.Module):
    def __init__(self, inner=None, fails=False):
        super().__init__()
        self.tower = inner
        self.fails = fails

    def forward(self, x):
        spend()
        if self.fails:
            raise RuntimeError("broken")
        return x if self.tower is None else self.tower(x)


def test_an_inner_stage_counts_for_itself_only():
    times = TimeSplit()
    with times.stage("outer"):
        spend(1)
        with times.stage("inner"):
            spend(5)
        spend(2)
    spend(7)
    assert times.seconds == {"outer": 3, "inner": 5}


def test_getting_items_and_calling_functions_count():
    def items():
        for number in range(3):
            spend()
            yield number

    times = TimeSplit()
    for _ in times.each("reading", items()):
        spend(10)
    assert times.timed("adding", lambda a, *, b: (spend(2), a + b)[1])(1, b=2) == 3
    assert times.seconds == {"reading": 3, "adding": 2}


def test_the_parts_of_a_model():
    times, model = TimeSplit(), nn.Module()
    model.backbone = Slow(Slow())
    model.associate = lambda frame: spend(3) or frame
    watch_model(times, model)
    for _ in range(2):
        with times.stage("heads"):
            model.backbone(torch.zeros(1))
            spend(4)
            assert model.associate(5) == 5
    assert times.seconds == {"heads": 8, "side network": 2, "tower": 2, "association": 6}
    alone = TimeSplit()
    model.backbone = Slow()
    watch_model(alone, model)
    model.backbone(torch.zeros(1))
    assert alone.seconds == {"tower": 1}


def test_a_module_that_fails_leaves_the_stages_in_order():
    times, module = TimeSplit(), Slow(fails=True)
    times.watch("module", module)
    with pytest.raises(RuntimeError, match="broken"), times.stage("outer"):
        module(torch.zeros(1))
    with times.stage("after"):
        spend(4)
    assert times.seconds == {"outer": 0, "module": 1, "after": 4}


def test_the_gpu_of_the_model_is_waited_for_and_no_other(monkeypatch):
    waited = []
    # there may be no GPU here, let alone a second one
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: waited.append(device))
    for device in ("cpu", "cuda:1"):
        with TimeSplit(device).stage("model"):
            pass
    assert waited == [torch.device("cuda:1")] * 2


def test_nothing_is_measured_and_no_gpu_waited_for_unless_asked(monkeypatch):
    waited, model = [], nn.Module()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: waited.append(device))
    model.backbone, associate = Slow(), (lambda frame: frame)
    model.associate = associate
    times = TimeSplit("cuda:1", enabled=False)
    watch_model(times, model)
    with times.stage("heads"):
        model.backbone(torch.zeros(1))
    assert list(times.each("reading", [1, 2])) == [1, 2]
    assert not times.seconds and not waited and model.associate is associate
    assert not model.backbone._forward_hooks and not model.backbone._forward_pre_hooks


def test_fractions_are_reported():
    times = TimeSplit()
    times.seconds = {"reading": 1.0, "model": 2.5}
    assert times.describe(4.0) == "reading 25%, model 62%, other 12%"
