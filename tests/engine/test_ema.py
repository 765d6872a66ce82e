"""The moving average of the trained parameters: its values, who sees it, and what a resumed run makes of it."""

import json
import shutil

import pytest
import torch
from helpers import dummy_model, small_shapes
from helpers.messages import raises
from helpers.processes import SCRIPT, environment, run_python
from torch import nn

from effowt_d2.checkpoint import CheckpointError
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.engine.ema import ParameterAverage

RESULTS = "inference/mini_val/tao_ow_results.json"
DROPPING = {"MODEL__META_ARCHITECTURE": "DroppingCellTracker"}
WITH_EMA = {**DROPPING, "SOLVER__EMA__DECAY": 0.9}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of 6 steps, which differ in the average only."""
    folder = tmp_path_factory.mktemp("ema")
    small_shapes.register(folder / "shapes")
    dummy_model.train(dummy_model.config(folder / "with", **WITH_EMA))
    dummy_model.train(dummy_model.config(folder / "without", **DROPPING))
    return folder


def load(folder, name="model_final.pth"):
    return torch.load(folder / name, weights_only=True)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def resumed(runs, kind, output, **options):
    """The run that goes on from step 3 of another."""
    output.mkdir(exist_ok=True)
    shutil.copy(runs / kind / "model_0000002.pth", output)
    (output / "last_checkpoint").write_text("model_0000002.pth")
    return dummy_model.train(dummy_model.config(output, **options), resume=True)


def test_values_by_hand():
    model = nn.Linear(1, 1, bias=False)
    model.frozen = nn.Linear(1, 1).requires_grad_(False)
    average, expected = ParameterAverage(model, 0.15), 0.0
    model.weight.data.fill_(0.0)
    average.restart()
    for step, decay in enumerate([1 / 10, 0.15, 0.15]):
        model.weight.data.fill_(step + 1.0)
        average.update()
        expected = decay * expected + (1 - decay) * (step + 1)
    with average.applied():
        assert model.weight.item() == pytest.approx(expected)
        with average.applied():
            assert model.weight.item() == pytest.approx(expected)
        assert list(average.state_dict()["parameters"]) == ["weight"]
    assert model.weight.item() == 3.0
    with raises(RuntimeError, "applied"):
        average.state_dict()


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range(decay):
    with raises(ValueError, "decay", decay):
        ParameterAverage(nn.Linear(1, 1), decay)


def test_checkpoint_holds_the_average_and_training_is_that_without(runs):
    ours, plain = load(runs / "with"), load(runs / "without")
    assert_same(ours["trainer"]["average"]["parameters"], plain["model"])
    assert not any(torch.equal(ours["model"][key], plain["model"][key]) for key in plain["model"])
    assert ours["trainer"]["average"]["updates"] == 6 and "average" not in plain["trainer"]


def test_evaluation_in_training_is_that_of_the_loaded_checkpoint(runs, tmp_path):
    cfg = dummy_model.config(tmp_path, **DROPPING)
    model = OpenWorldTrainer.build_model(cfg)
    model.load_state_dict(load(runs / "with")["model"])
    OpenWorldTrainer.test(cfg, model)
    assert (tmp_path / RESULTS).read_text() == (runs / "with" / RESULTS).read_text()
    assert (tmp_path / RESULTS).read_text() != (runs / "without" / RESULTS).read_text()


def test_resumed_run_ends_the_same(runs, tmp_path):
    trainer = resumed(runs, "with", tmp_path, **WITH_EMA)
    assert trainer.start_iter == 3
    found, expected = load(tmp_path), load(runs / "with")
    assert_same(found["model"], expected["model"])
    assert_same(found["trainer"]["average"]["parameters"], expected["trainer"]["average"]["parameters"])
    assert_same(dict(trainer.model.named_parameters()), expected["trainer"]["average"]["parameters"])


def test_resumed_without_the_average_continues_from_the_weights_as_trained(runs, tmp_path):
    resumed(runs, "with", tmp_path, **DROPPING)
    found = load(tmp_path)
    assert_same(found["model"], load(runs / "without")["model"])
    assert "average" not in found["trainer"]


def test_resumed_from_a_checkpoint_without_one_starts_it_there(runs, tmp_path):
    trainer = resumed(runs, "without", tmp_path, **WITH_EMA)
    found = load(tmp_path)
    assert_same(found["trainer"]["average"]["parameters"], load(runs / "without")["model"])
    assert found["trainer"]["average"]["updates"] == 3
    # a run whose average starts at the checkpoint's weights
    model = OpenWorldTrainer.build_model(dummy_model.config(tmp_path))
    model.load_state_dict(load(runs / "without", "model_0000002.pth")["model"])
    average = ParameterAverage(model, 0.9)
    with average.applied():
        started = {name: p.clone() for name, p in model.named_parameters()}
    assert not any(torch.equal(found["model"][name], started[name]) for name in started)
    with trainer.averaged():
        assert_same(dict(trainer.model.named_parameters()), found["model"])


def test_begins_at_the_loaded_weights(runs, tmp_path):
    weights = str(runs / "without" / "model_final.pth")
    trainer = OpenWorldTrainer(dummy_model.config(tmp_path, MODEL__WEIGHTS=weights, **WITH_EMA))
    trainer.resume_or_load(resume=False)
    with trainer.averaged():
        assert_same(dict(trainer.model.named_parameters()), load(runs / "without")["model"])


def test_average_of_another_model(runs):
    average = ParameterAverage(nn.Linear(2, 1), 0.9)
    with raises(CheckpointError, "weight"):
        average.load_state_dict(load(runs / "with")["trainer"]["average"])


@pytest.mark.slow
def test_two_processes_average_as_one(runs, tmp_path):
    options = {"SOLVER__IMS_PER_BATCH": 4, "SOLVER__EMA__DECAY": 0.9}
    dummy_model.train(dummy_model.config(tmp_path / "one", **options))
    (tmp_path / "config.yaml").write_text(dummy_model.config(tmp_path / "two", **options).dump())
    command = [SCRIPT, "--config-file", tmp_path / "config.yaml", "--num-gpus", 2]
    run_python(*command, env=environment(runs / "shapes"))
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    for key in one["model"]:
        torch.testing.assert_close(two["model"][key], one["model"][key], rtol=0, atol=1e-5)
    # evaluation is dealt over both processes, and each has the average
    results = [json.loads((tmp_path / run / RESULTS).read_text()) for run in ("one", "two")]
    scores = [[entry["score"] for entry in entries] for entries in results]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
