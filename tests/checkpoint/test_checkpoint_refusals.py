"""Files that must not be loaded, and that the model is then as it was."""

import os
import pickle

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer, UnreadableCheckpointError


@pytest.fixture
def good(make_small, tmp_path):
    """A checkpoint of ``make_small()``."""
    EffOWTCheckpointer(make_small(), str(tmp_path)).save("model")
    return tmp_path / "model.pth"


def refused(model, file, error=CheckpointError, **options) -> str:
    """The message, after making sure that nothing changed and that the checkpointer still works."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    checkpointer = EffOWTCheckpointer(model, **options)
    for _ in range(2):
        with pytest.raises(error) as caught:
            checkpointer.load(str(file))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    return str(caught.value)


def test_another_towers_weights_are_refused_with_both_hashes(make_small, good):
    model = make_small(1, tower_seed=1)
    message = refused(model, good)
    assert make_small().tower.weights_hash() in message and model.tower.weights_hash() in message


def test_another_tower_is_refused_with_both_names(make_small, good):
    message = refused(make_small(1, name="checkpoint-b"), good)
    assert "checkpoint-a" in message and "checkpoint-b" in message


def test_a_trained_tower_does_not_take_a_frozen_ones_checkpoint(make_small, good):
    message = refused(make_small(1, frozen=False), good)
    assert "frozen, weights" in message and "trained" in message


def edit(file, change):
    data = torch.load(file, weights_only=True)
    change(data)
    torch.save(data, file)


def test_all_differences_are_listed(make_small, good):
    def change(data):
        del data["model"]["head.0.bias"], data["model"]["head.1.running_var"]
        data["model"]["head.9.weight"] = torch.zeros(2)
        data["model"]["head.0.weight"] = torch.zeros(8, 65)

    edit(good, change)
    message = refused(make_small(1), good)
    assert "4 differences" in message
    for line in (
        "missing: head.0.bias (8,)",
        "missing: head.1.running_var (8,)",
        "unexpected: head.9.weight (2,)",
        "shape: head.0.weight is (8, 65) in the file, (8, 64) in the model",
    ):
        assert line in message


def test_newer_format(make_small, good):
    edit(good, lambda data: data["effowt"].update(format=99))
    assert "format 99" in refused(make_small(1), good)


def test_optimizer_that_does_not_fit_leaves_the_model_alone(make_small, tmp_path):
    model = make_small()
    optimizer = torch.optim.SGD(model.head[0].parameters(), lr=0.1)
    EffOWTCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model")
    other = make_small(1)
    optimizer = torch.optim.SGD(other.head.parameters(), lr=0.1)
    refused(other, tmp_path / "model.pth", ValueError, optimizer=optimizer)


class Attack:
    """Unpickling it leaves a file behind."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def write_attack(file, trace):
    payload = {"model": {"head.0.bias": torch.zeros(8)}, "extra": Attack(trace)}
    if file.suffix == ".pkl":
        bias = np.zeros(8, np.float32)
        file.write_bytes(pickle.dumps({"model": {"head.0.bias": bias}, "__author__": "x", "extra": Attack(trace)}))
    else:
        torch.save(payload, file)


@pytest.mark.parametrize("name", ["a.pth", "a.pyth", "a.pkl"])
def test_code_in_a_file_does_not_run(make_small, tmp_path, name):
    write_attack(tmp_path / name, tmp_path / "trace")
    message = refused(make_small(), tmp_path / name)
    assert "mkdir" in message and "MODEL.UNSAFE_PICKLE" in message
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["a.pth", "a.pkl"])
def test_the_flag_overrides_it(make_small, tmp_path, name):
    write_attack(tmp_path / name, tmp_path / "trace")
    EffOWTCheckpointer(make_small(), unsafe_pickle=True).load(str(tmp_path / name))
    assert (tmp_path / "trace").is_dir()


def flip_a_byte(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "changed": flip_a_byte,
    "empty": lambda content: b"",
    "text": lambda content: b"version https://git-lfs.github.com/spec/v1\n",
    "list": lambda content: pickle.dumps([1], protocol=2),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files(make_small, good, damage):
    good.write_bytes(DAMAGE[damage](good.read_bytes()))
    assert str(good) in refused(make_small(1), good, UnreadableCheckpointError)


def test_damaged_pkl(make_small, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": {"a": np.zeros(99)}})[:80])
    assert "damaged" in refused(make_small(), tmp_path / "a.pkl", UnreadableCheckpointError)


def test_missing_file_and_unknown_name(make_small, tmp_path):
    assert "gone.pth" in refused(make_small(), tmp_path / "gone.pth", FileNotFoundError)
    assert "ShapesCLIP-S-16" in refused(make_small(), "effowt://gone", FileNotFoundError)


def test_empty_path_loads_nothing(make_small):
    assert EffOWTCheckpointer(make_small()).load("") == {}


def test_detectron2s_own_checkpoints_load_as_in_detectron2(make_small, tmp_path, caplog):
    model, other = make_small(), make_small(1)
    DetectionCheckpointer(model, str(tmp_path)).save("whole")
    EffOWTCheckpointer(other).load(str(tmp_path / "whole.pth"))
    assert torch.equal(other.head[0].weight, model.head[0].weight)
    # part of a model is only reported, and the tower is not what is missing
    torch.save({"model": {"head.0.weight": model.head[0].weight + 1, "more": torch.zeros(1)}}, tmp_path / "part.pth")
    EffOWTCheckpointer(other).load(str(tmp_path / "part.pth"))
    assert torch.equal(other.head[0].weight, model.head[0].weight + 1)
    assert "more" in caplog.text and "head.0.bias" in caplog.text and "tower" not in caplog.text


def test_foreign_weights_of_a_frozen_tower_are_refused(make_small, tmp_path):
    DetectionCheckpointer(make_small(tower_seed=1), str(tmp_path)).save("whole")
    assert "MODEL.VLM.WEIGHTS" in refused(make_small(1), tmp_path / "whole.pth")


def test_model_zoo_pickles_of_detectron2_load(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = {"model": {"weight": weight, "bias": np.ones(2, np.float32)}, "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
    model = nn.Linear(3, 2)
    EffOWTCheckpointer(model).load(str(tmp_path / "a.pkl"))
    assert model.weight.tolist() == weight.tolist()
