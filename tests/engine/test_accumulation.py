"""SOLVER.ACCUMULATE: the gradient of a step is the mean over several batches; learning rates of a resumed run."""

import json

import pytest
import torch
from detectron2.utils.env import seed_all_rng
from helpers import dummy_model, small_shapes
from helpers.messages import assert_says

from effowt_d2.engine import OpenWorldTrainer


@pytest.fixture(scope="module", autouse=True)
def shapes(tmp_path_factory):
    small_shapes.register(tmp_path_factory.mktemp("shapes"))


def sgd(folder, **options):
    keys = {"SOLVER__OPTIMIZER": "sgd", "SOLVER__MOMENTUM": 0.0, "DATASETS__TEST": (), "SOLVER__CHECKPOINT_PERIOD": 4}
    return dummy_model.config(folder, **{**keys, **options})


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    return [line["total_loss"] for line in lines if "total_loss" in line]


@pytest.mark.parametrize("clip", [False, True])
def test_two_batches_of_two_are_one_of_four(tmp_path, clip):
    options = {"SOLVER__CLIP_GRADIENTS__ENABLED": clip, "SOLVER__CLIP_GRADIENTS__CLIP_TYPE": "full_model"}
    options["SOLVER__CLIP_GRADIENTS__CLIP_VALUE"] = 0.01
    # the loss is the mean over images, so the mean over two batches is that of one twice as large
    whole = dummy_model.train(sgd(tmp_path / "whole", SOLVER__IMS_PER_BATCH=4, **options))
    parts = dummy_model.train(sgd(tmp_path / "parts", SOLVER__ACCUMULATE=2, **options))
    torch.testing.assert_close(weights(parts), weights(whole))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)
    other = dummy_model.train(sgd(tmp_path / "other", **options))
    assert not torch.equal(weights(other)["score.weight"], weights(whole)["score.weight"])


def test_a_resumed_run_continues_with_the_next_batches(tmp_path):
    options = {"SOLVER__ACCUMULATE": 3, "MODEL__META_ARCHITECTURE": "DroppingCellTracker"}
    options["SOLVER__CHECKPOINT_PERIOD"] = 2
    whole = dummy_model.train(sgd(tmp_path / "whole", **options))
    seed_all_rng(3)
    first = OpenWorldTrainer(sgd(tmp_path / "cut", **options))
    first.resume_or_load(resume=False)
    first.max_iter = 4
    first.train()
    (tmp_path / "cut" / "last_checkpoint").write_text("model_0000003.pth")
    resumed = dummy_model.train(sgd(tmp_path / "cut", **options), resume=True)
    assert resumed.start_iter == 4
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=0, atol=0)


def test_changed_rates_of_a_resumed_run_are_used_and_logged(tmp_path, caplog):
    dummy_model.train(sgd(tmp_path, SOLVER__MAX_ITER=4))
    options = {"SOLVER__MAX_ITER": 8, "SOLVER__BASE_LR": 0.001, "SOLVER__WEIGHT_DECAY": 0.02}
    resumed = dummy_model.train(sgd(tmp_path, SOLVER__MOMENTUM=0.5, **options), resume=True)
    rows = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert [row["lr"] for row in rows if row.get("iteration") == 7] == pytest.approx([0.001])
    assert {(g["initial_lr"], g["momentum"]) for g in resumed.optimizer.param_groups} == {(0.001, 0.5)}
    assert 0.02 in {g["weight_decay"] for g in resumed.optimizer.param_groups}
    assert_says(caplog.text, "SOLVER", "lr of heads: 0.01 -> 0.001", "momentum of heads: 0 -> 0.5", "weight_decay")


def test_the_first_resumed_step_has_the_new_rate(tmp_path):
    cfg = sgd(tmp_path, SOLVER__MAX_ITER=4, SOLVER__WARMUP_ITERS=0)
    dummy_model.train(cfg)
    trainer = OpenWorldTrainer(sgd(tmp_path, SOLVER__MAX_ITER=8, SOLVER__WARMUP_ITERS=0, SOLVER__BASE_LR=0.002))
    trainer.resume_or_load(resume=True)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [0.002] * len(trainer.optimizer.param_groups)
    )


def test_same_rates_log_nothing(tmp_path, caplog):
    dummy_model.train(sgd(tmp_path, SOLVER__MAX_ITER=4))
    dummy_model.train(sgd(tmp_path, SOLVER__MAX_ITER=8), resume=True)
    assert "are used" not in caplog.text
