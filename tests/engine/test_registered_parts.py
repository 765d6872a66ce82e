"""Loaders and learning-rate schedules that a project registers are found by the config's names."""

import pytest
import torch
from helpers.configs import plugin_config
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from effowt_d2.data import LOADERS, build_train_loader
from effowt_d2.engine import SCHEDULERS, OpenWorldTrainer


def test_a_registered_schedule_is_used(monkeypatch):
    monkeypatch.setattr(SCHEDULERS, "_found", {"halved": lambda cfg, optimizer: LambdaLR(optimizer, lambda step: 0.5)})
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    OpenWorldTrainer.build_lr_scheduler(plugin_config(SOLVER__LR_SCHEDULER_NAME="halved"), optimizer)
    assert optimizer.param_groups[0]["lr"] == 1.0
    theirs = OpenWorldTrainer.build_lr_scheduler(plugin_config(), torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0))
    assert type(theirs).__module__.startswith("detectron2")
    with pytest.raises(ValueError, match="quartered"):
        OpenWorldTrainer.build_lr_scheduler(plugin_config(SOLVER__LR_SCHEDULER_NAME="quartered"), optimizer)


def test_a_registered_loader_is_used(monkeypatch):
    monkeypatch.setattr(LOADERS, "_found", {"fixed": lambda cfg, mapper: [cfg.SEED, mapper]})
    cfg = plugin_config(SEED=7)
    cfg.DATA.LOADER = "fixed"
    assert build_train_loader(cfg) == [7, None] and build_train_loader(cfg, str) == [7, str]
    cfg.DATA.LOADER = "other"
    with pytest.raises(ValueError, match="DATA.LOADER.*other.*fixed"):
        build_train_loader(cfg)
