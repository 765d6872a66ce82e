"""Weights files: exactly what is in them, or one clear error; never code, never half."""

import argparse
import logging
import os
import pickle
from collections import OrderedDict

import huggingface_hub
import open_clip
import pytest
import torch
from helpers.messages import assert_says, raises
from helpers.tiny_eva import SWITCHES, register_tiny_evas
from safetensors.torch import save_file

from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.weight_files import load_clip_tower, read_weights


@pytest.fixture
def folder(tiny, tmp_path):
    register_tiny_evas(tmp_path)
    return tmp_path


def clip_model(name, seed=3):
    torch.manual_seed(seed)
    return open_clip.create_model(name, load_weights=False)


def save(form, state, path):
    if form == "safetensors":
        save_file({key: value.contiguous().clone() for key, value in state.items()}, path)
    elif form == "bin":
        # as open_clip's training script writes it from several GPUs
        torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("form", ["pt", "bin", "safetensors"])
@pytest.mark.parametrize("name", ["tiny-vit", *SWITCHES])
def test_every_tensor_of_the_file_is_in_the_tower(folder, name, form, caplog):
    model = clip_model(name)
    caplog.set_level(logging.INFO)
    caplog.clear()
    tower = build_tower(name, save(form, model.state_dict(), folder / f"clip.{form}"))
    expected = model.visual.state_dict()
    found = tower.trunk.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert_says(caplog.text, f"clip.{form}", len(expected))
    assert "left over:" in caplog.text and "initialized randomly" not in caplog.text


def test_positions_of_another_image_size_are_resized_as_open_clip_does_it(folder, caplog):
    caplog.set_level(logging.INFO)
    state = clip_model("tiny-vit").state_dict()
    torch.manual_seed(0)
    state["visual.positional_embedding"] = torch.randn(1 + 6 * 6, 64)
    file = save("pt", state, folder / "clip.pt")
    theirs = open_clip.create_model("tiny-vit", pretrained=file).visual
    assert torch.equal(build_tower("tiny-vit", file).trunk.positional_embedding, theirs.positional_embedding)
    assert_says(caplog.text, "visual.positional_embedding", 37, 17)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_dtypes_are_converted_and_a_loss_is_reported(folder, caplog, dtype):
    model = clip_model("tiny-vit").to(dtype)
    tower = build_tower("tiny-vit", save("pt", model.state_dict(), folder / "clip.pt"))
    assert tower.trunk.conv1.weight.dtype == torch.float32
    assert torch.equal(tower.trunk.conv1.weight, model.visual.conv1.weight.float())
    assert (str(dtype) in caplog.text) == (dtype == torch.float64)


def test_a_file_that_does_not_fit_changes_nothing(folder):
    model, other = clip_model("tiny-vit"), clip_model("tiny-vit", seed=4).state_dict()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    other["visual.extra"] = other.pop("visual.ln_pre.weight")
    other["visual.conv1.weight"] = torch.zeros(64, 3, 14, 14)
    shapes = ("conv1.weight", "(64, 3, 14, 14)", "(64, 3, 16, 16)")
    with raises(ValueError, "clip.pt", "tiny-vit", "missing: ln_pre.weight (64,)", "unexpected: extra (64,)", *shapes):
        load_clip_tower(model, other, name="tiny-vit", file="clip.pt")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class RaisesTypeError:
    """open_clip's reader tries again after a TypeError, with torch's default of what is allowed."""

    def __reduce__(self):
        return OrderedDict, (1,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_no_code_is_run(folder):
    proof = folder / "code was run"
    torch.save({"state_dict": clip_model("tiny-vit").state_dict(), "more": Runs(proof)}, folder / "zip.pt")
    with raises(ValueError, "zip.pt", "mkdir"):
        build_tower("tiny-vit", str(folder / "zip.pt"))
    for protocol in (2, 4):
        (folder / "raw.bin").write_bytes(pickle.dumps([RaisesTypeError(), Runs(proof)], protocol=protocol))
        with raises(ValueError, "raw.bin"):
            build_tower("tiny-vit", str(folder / "raw.bin"))
    assert not proof.exists()


def test_the_flag_that_overrides_it(folder):
    data = {"state_dict": clip_model("tiny-vit").state_dict(), "args": argparse.Namespace(epochs=3)}
    torch.save(data, folder / "clip.pt")
    with raises(ValueError, "argparse.Namespace", "MODEL.UNSAFE_PICKLE"):
        build_tower("tiny-vit", str(folder / "clip.pt"))
    tower = build_tower("tiny-vit", str(folder / "clip.pt"), unsafe_pickle=True)
    assert torch.equal(tower.trunk.conv1.weight, data["state_dict"]["visual.conv1.weight"])


@pytest.mark.parametrize("form", ["pt", "bin", "safetensors"])
def test_damaged_files_are_reported(folder, form):
    file = folder / f"clip.{form}"
    save(form, clip_model("tiny-vit").state_dict(), file)
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>404: not found</html>", b""):
        file.write_bytes(content)
        with raises(ValueError, f"clip.{form}"):
            build_tower("tiny-vit", str(file))


@pytest.mark.parametrize("content", [{"epoch": 3, "optimizer": {}}, [torch.zeros(2)], torch.zeros(2)])
def test_other_files_of_torch_are_reported(folder, content):
    torch.save(content, folder / "other.pt")
    with raises(ValueError, "other.pt"):
        read_weights(str(folder / "other.pt"))


def test_no_network_is_one_clear_error(folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "empty"))
    with raises(RuntimeError, "openclip://datacomp_xl_s13b_b90k", "ViT-B-16"):
        build_tower("ViT-B-16", "openclip://datacomp_xl_s13b_b90k")


def test_weights_of_another_activation_are_refused():
    with raises(ValueError, "openai", "QuickGELU", "ViT-B-16", "GELU", "ViT-B-16-quickgelu"):
        build_tower("ViT-B-16", "openclip://openai")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.model."])
def test_prefixes_of_wrappers_come_off(folder, prefix):
    state = clip_model("tiny-vit").state_dict()
    file = save("pt", {f"{prefix}{key}": value for key, value in state.items()}, folder / "clip.pt")
    assert read_weights(file).keys() == state.keys()


@pytest.mark.parametrize(
    "change, data", [(lambda v: v * torch.nan, ["NaN"]), (lambda v: v.long(), ["torch.int64", "torch.float32"])]
)
def test_numbers_that_are_none(folder, change, data):
    state = clip_model("tiny-vit").state_dict()
    state["visual.proj"] = change(state["visual.proj"])
    with raises(ValueError, "clip.pt", "tiny-vit", "proj", *data):
        build_tower("tiny-vit", save("pt", state, folder / "clip.pt"))


class Holder(torch.nn.Module):
    """What a TorchScript archive is made of, without anything to run."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual

    def forward(self, x):
        return x


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_archives_are_explained_or_read(folder):
    visual = clip_model("tiny-vit").visual
    file = str(folder / "clip.pt")
    torch.jit.trace(Holder(visual), torch.zeros(1), check_trace=False).save(file)
    with raises(ValueError, file, "TorchScript", "MODEL.UNSAFE_PICKLE"):
        build_tower("tiny-vit", file)
    tower = build_tower("tiny-vit", file, unsafe_pickle=True)
    assert torch.equal(tower.trunk.proj, visual.proj)
