"""Checkpoints that are handed on as safetensors files: the same tensors and header, without code."""

import json
import runpy
import sys

import pytest
import torch
from helpers import ROOT
from helpers.messages import raises
from safetensors import safe_open
from safetensors.torch import save_file

from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer, UnreadableCheckpointError
from effowt_d2.checkpoint.contents import make_header, trained_state
from effowt_d2.checkpoint.safetensors_files import read_safetensors, write_safetensors


def written(model, file):
    write_safetensors(str(file), trained_state(model), make_header(model, "KEY: 1"))
    return file


def test_tensors_and_header_are_those_of_the_pth(make_small, tmp_path):
    source, model = make_small(), make_small(1)
    file = written(source, tmp_path / "model.safetensors")
    extra = EffOWTCheckpointer(model, complete=True).load(str(file))
    assert extra["effowt"] == make_header(source, "KEY: 1")
    assert all(torch.equal(value, trained_state(model)[key]) for key, value in trained_state(source).items())
    with safe_open(file, framework="pt") as content:
        assert json.loads(content.metadata()["effowt"])["config"] == "KEY: 1"


def test_another_towers_file_is_refused(make_small, tmp_path):
    file = written(make_small(tower_seed=1), tmp_path / "model.safetensors")
    with raises(CheckpointError, file, make_small().tower.weights_hash()):
        EffOWTCheckpointer(make_small(1)).load(str(file))


def test_foreign_files_are_weights_alone(make_small, tmp_path):
    state = {f"module.{key}": value for key, value in trained_state(make_small()).items()}
    save_file(state, tmp_path / "model.safetensors")
    model = make_small(1)
    EffOWTCheckpointer(model, complete=True).load(str(tmp_path / "model.safetensors"))
    assert torch.equal(model.head[0].weight, state["module.head.0.weight"])


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      more"])
def test_damaged_files(make_small, tmp_path, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with raises(UnreadableCheckpointError, file):
        EffOWTCheckpointer(make_small()).load(str(file))


def test_a_header_that_is_no_json(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"effowt": "{"})
    with raises(UnreadableCheckpointError, "a.safetensors", "effowt"):
        read_safetensors(str(tmp_path / "a.safetensors"))


def export(monkeypatch, *arguments):
    tool = str(ROOT / "tools" / "export_checkpoint.py")
    monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(tool, run_name="__main__")
    return end.value.code


@pytest.mark.parametrize("name", ["out.safetensors", "out.pth"])
@pytest.mark.parametrize(
    "option, dtype", [((), torch.float32), (("--half",), torch.float16), (("--bfloat16",), torch.bfloat16)]
)
def test_the_export_tool_makes_one(make_small, tmp_path, monkeypatch, name, option, dtype):
    source, model = make_small(), make_small(1)
    EffOWTCheckpointer(source, str(tmp_path)).save("model", iteration=7)
    assert export(monkeypatch, tmp_path / "model.pth", tmp_path / name, *option) == 0
    EffOWTCheckpointer(model, complete=True).load(str(tmp_path / name))
    assert torch.equal(model.head[0].weight, source.head[0].weight.to(dtype).float())


def test_fewer_bits_are_the_nearest_numbers_and_take_less_room(make_small, tmp_path, monkeypatch, capsys):
    source, sizes = make_small(), []
    torch.nn.init.normal_(source.head[0].weight)
    EffOWTCheckpointer(source, str(tmp_path)).save("model", iteration=7)
    for bits in (7, 4):
        file = tmp_path / f"{bits}.pth"
        assert export(monkeypatch, tmp_path / "model.pth", file, "--bfloat16", bits) == 0
        model = make_small(1)
        EffOWTCheckpointer(model, complete=True).load(str(file))
        true, found = source.head[0].weight.detach(), model.head[0].weight.detach()
        # half a step of the smallest number of that exponent
        assert ((true - found).abs() <= 2.0 ** -(bits + 1) * true.abs() * (1 + 1e-6)).all()
        fraction = torch.frexp(found).mantissa * 2 ** (bits + 1)
        assert torch.equal(fraction, fraction.round()) and not torch.equal(true, found)
        sizes.append(file.stat().st_size)
    assert sizes[1] < sizes[0]
    assert export(monkeypatch, tmp_path / "model.pth", tmp_path / "no.pth", "--bfloat16", 8) == 2
    assert "--bfloat16" in capsys.readouterr().err and not (tmp_path / "no.pth").exists()
