"""How much of a model a file fills: wrappers' prefixes, parts, other models, NaN, dtypes, inner structure."""

import pickle

import numpy as np
import pytest
import torch
from helpers.messages import assert_says, raises
from torch import nn

from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer, UnreadableCheckpointError


def own(model):
    """What of a model is in its checkpoints."""
    return {key: value for key, value in model.state_dict().items() if not key.startswith("tower.")}


def loaded(model, state, tmp_path, **options):
    torch.save(state, tmp_path / "weights.pth")
    EffOWTCheckpointer(model, **options).load(str(tmp_path / "weights.pth"))
    return model


def is_equal(model, state):
    return all(torch.equal(model.state_dict()[key], value) for key, value in state.items())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module.model."])
@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state}, lambda state: {"model": state}]
)
def test_prefixes_of_wrappers_come_off(make_small, tmp_path, prefix, wrap):
    state = own(make_small())
    model = loaded(make_small(1), wrap({prefix + key: value for key, value in state.items()}), tmp_path)
    assert is_equal(model, state)


def test_a_prefix_of_the_model_itself_stays(tmp_path):
    model = nn.ModuleDict({"model": nn.Linear(3, 2)})
    state = {key: value + 1 for key, value in model.state_dict().items()}
    assert is_equal(loaded(model, {f"module.{key}": value for key, value in state.items()}, tmp_path), state)


def test_nothing_that_fits_is_an_error(make_small, tmp_path):
    other = {"encoder.weight": torch.zeros(3), "head.9.weight": torch.zeros(8), "head.0.weight": torch.zeros(3, 3)}
    for options in ({}, {"partial": True}, {"complete": True}):
        model = make_small(1)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with raises(CheckpointError, "weights.pth", "head.0.weight"):
            loaded(model, other, tmp_path, **options)
        assert is_equal(model, before)


def test_evaluation_requires_every_trained_tensor(make_small, tmp_path):
    state = own(make_small())
    del state["head.0.bias"], state["head.1.running_var"]
    assert loaded(make_small(1), state, tmp_path)
    with raises(CheckpointError, "weights.pth", "head.0.bias", "head.1.running_var", "MODEL.PARTIAL") as caught:
        loaded(make_small(1), state, tmp_path, complete=True)
    assert "head.0.weight" not in str(caught.value) and "tower" not in str(caught.value)
    assert loaded(make_small(1), own(make_small()), tmp_path, complete=True)


def test_a_tensor_of_two_names_may_have_one_in_the_file(tmp_path):
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    state = dict(model.state_dict())
    del state["b.weight"]
    assert loaded(model, state, tmp_path, complete=True)


def test_partial_loads_what_fits_of_another_models_checkpoint(make_small, tmp_path, caplog):
    # of another tower, and with a layer of another width
    EffOWTCheckpointer(make_small(tower_seed=1), str(tmp_path)).save("other")
    checkpoint = torch.load(tmp_path / "other.pth", weights_only=True)
    source = checkpoint["model"]["head.0.bias"]
    checkpoint["model"]["head.0.weight"] = torch.zeros(8, 65)
    checkpoint["model"]["head.7.weight"] = torch.zeros(2)
    model = make_small(1)
    kept = model.head[0].weight.clone()
    with pytest.raises(CheckpointError):
        loaded(model, checkpoint, tmp_path)
    loaded(model, checkpoint, tmp_path, partial=True, complete=True)
    assert torch.equal(model.head[0].weight, kept) and torch.equal(model.head[0].bias, source)
    assert_says(caplog.text, "another tower", "head.0.weight is (8, 65)", "(8, 64)", "head.7.weight (2,)")
    assert_says(caplog.text, "MODEL.PARTIAL", "missing: head.0.weight (8, 64)")


@pytest.mark.parametrize(
    "change, data",
    [
        (lambda value: value.fill_(torch.nan), ["values", "NaN"]),
        (lambda value: value.fill_(-torch.inf), ["values", "infinite"]),
        (lambda value: value.long(), ["dtype", "torch.int64", "torch.float32"]),
        (lambda value: value > 0, ["dtype", "torch.bool"]),
        (lambda value: value.to(torch.complex64), ["dtype", "torch.complex64"]),
    ],
)
@pytest.mark.parametrize("foreign", [True, False])
def test_numbers_that_are_none(make_small, tmp_path, change, data, foreign):
    EffOWTCheckpointer(make_small(), str(tmp_path)).save("model")
    checkpoint = torch.load(tmp_path / "model.pth", weights_only=True)
    checkpoint["model"]["head.0.bias"] = change(checkpoint["model"]["head.0.bias"].clone())
    with raises(CheckpointError, "weights.pth", "head.0.bias", *data):
        loaded(make_small(1), checkpoint["model"] if foreign else checkpoint, tmp_path)


def test_half_precision_is_converted(make_small, tmp_path):
    state = own(make_small())
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    model = loaded(make_small(1), half, tmp_path)
    assert model.head[0].weight.dtype is torch.float32
    torch.testing.assert_close(model.head[0].weight, state["head.0.weight"], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "change, data",
    [
        (lambda c: c.pop("model"), ["model"]),
        (lambda c: c.update(model=[1]), ["model", "list"]),
        (lambda c: c["model"].update(more={"a": 1}), ["model", "more", "dict"]),
        (lambda c: c.update(effowt="1"), ["effowt", "str"]),
        (lambda c: c["effowt"].pop("format"), ["effowt", "format"]),
        (lambda c: c["effowt"].update(format="1"), ["effowt", "format", "str"]),
        (lambda c: c["effowt"].update(towers=None), ["towers", "NoneType"]),
        (lambda c: c["effowt"]["towers"].update(tower=3), ["tower", "int"]),
        (lambda c: c["effowt"]["versions"].clear(), ["effowt_d2"]),
    ],
)
def test_inner_structure(make_small, tmp_path, change, data):
    EffOWTCheckpointer(make_small(), str(tmp_path)).save("model")
    checkpoint = torch.load(tmp_path / "model.pth", weights_only=True)
    change(checkpoint)
    with raises(UnreadableCheckpointError, "weights.pth", *data):
        loaded(make_small(1), checkpoint, tmp_path)


def test_state_of_a_run_that_is_none(make_small, tmp_path):
    model = make_small()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    EffOWTCheckpointer(model, str(tmp_path), optimizer=optimizer).save("model")
    checkpoint = torch.load(tmp_path / "model.pth", weights_only=True)
    checkpoint["optimizer"] = {"state": 1}
    other = make_small(1)
    before = other.head[0].weight.clone()
    with raises(CheckpointError, "weights.pth"):
        loaded(other, checkpoint, tmp_path, optimizer=torch.optim.SGD(other.head.parameters(), lr=0.1))
    assert torch.equal(other.head[0].weight, before)


def archive(tmp_path):
    model = nn.Linear(3, 2)
    torch.jit.trace(model, torch.zeros(1, 3)).save(tmp_path / "script.pt")
    return model, str(tmp_path / "script.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_archives(tmp_path):
    source, file = archive(tmp_path)
    with raises(CheckpointError, file, "TorchScript", "MODEL.UNSAFE_PICKLE"):
        EffOWTCheckpointer(nn.Linear(3, 2)).load(file)
    model = nn.Linear(3, 2)
    EffOWTCheckpointer(model, unsafe_pickle=True).load(file)
    assert is_equal(model, source.state_dict())


def test_arrays_in_a_pkl_are_tensors_and_checked(tmp_path):
    state = {"weight": np.ones((2, 3), np.float32), "bias": np.zeros(2, np.float32)}
    data = {"model": state, "__author__": "Detectron2 Model Zoo"}
    model = nn.Linear(3, 2)
    (tmp_path / "arrays.pkl").write_bytes(pickle.dumps(data))
    EffOWTCheckpointer(model, complete=True).load(str(tmp_path / "arrays.pkl"))
    state["bias"][0] = np.nan
    (tmp_path / "nan.pkl").write_bytes(pickle.dumps(data))
    with raises(CheckpointError, "nan.pkl", "bias", "NaN"):
        EffOWTCheckpointer(model).load(str(tmp_path / "nan.pkl"))
    assert model.weight.tolist() == [[1.0] * 3] * 2
