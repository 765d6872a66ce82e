"""The learning rates of LoRAT and SPMTrack: those recorded of the release."""

import pytest
import sot  # noqa: F401  (it registers the schedule)
import torch
from helpers.configs import plugin_config, set_keys
from helpers.golden import golden_manifest
from torch import nn

from effowt_d2.engine.schedulers import build_lr_scheduler


@pytest.mark.parametrize("run", ["tiny", "full", "got10k"])
def test_rates_are_those_of_the_release(run):
    recorded = golden_manifest("lorat")["lr_schedule"][run]
    per_epoch = recorded["steps_per_epoch"]
    cfg = plugin_config()
    sot.add_config(cfg)
    set_keys(
        cfg,
        SOLVER__LR_SCHEDULER_NAME="warmup_cosine_sot",
        SOLVER__MAX_ITER=recorded["epochs"] * per_epoch,
        SOLVER__WARMUP_ITERS=recorded["warmup_epochs"] * per_epoch,
        SOLVER__WARMUP_FACTOR=1e-3,
    )
    scheduler = build_lr_scheduler(cfg, torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1e-4))
    rates = [1e-4 * scheduler.lr_lambdas[0](step) for step in recorded["steps"]]
    assert rates == pytest.approx(recorded["lr"], rel=1e-9)
