"""Checkpoints as AQATrack and EVPTrack publish them: the weights alone are taken, and no code of the file runs."""

import sys
import types

import pytest
import torch
from aqatrack.released import own_name as aqatrack_name
from evptrack.released import own_name as evptrack_name
from helpers.centre_trackers import centre_config, frames
from helpers.golden import golden
from helpers.golden_centre import aqatrack_model, evptrack_model
from sot.convert import main
from sot.released_nets import read_net

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import OpenWorldTrainer, make_config
from effowt_d2.utils.tensor_files import CheckpointError, UnreadableCheckpointError

MODELS = {"aqatrack": (aqatrack_model, aqatrack_name), "evptrack": (evptrack_model, evptrack_name)}


class Settings:
    """Stands for a class of the releases: an object with values, of a module that is not there when it is read."""

    def __init__(self):
        self.script, self.nested = "aqatrack", {"local": [1, 2]}


class Touching:
    """Pickled, it asks for a file to be made."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Writes a checkpoint with the weights of a system, and objects of a foreign module."""

    def write(system, *, legacy=False, **more):
        module = types.ModuleType("lib_train_settings")
        module.Settings = Settings
        monkeypatch.setattr(Settings, "__module__", module.__name__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        content = {
            "epoch": 150,
            "net": golden(f"{system}/weights"),
            "settings": Settings(),
            "constructor": None,
            **more,
        }
        file = tmp_path / f"{system}.pth.tar"
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        monkeypatch.delitem(sys.modules, module.__name__)
        return file

    return write


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("system", MODELS)
def test_a_released_file_fills_the_model(released, system, legacy):
    file = released(system, legacy=legacy)
    with pytest.raises(Exception, match="lib_train_settings"):
        torch.load(file, weights_only=False)
    make, _ = MODELS[system]
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    model.load_released(file)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_no_code_of_a_file_runs(released, tmp_path):
    file = released("evptrack", stats=Touching(tmp_path / "made"))
    assert read_net(file).keys() == golden("evptrack/weights").keys()
    assert not (tmp_path / "made").exists()


def test_files_of_the_other_system_or_size_are_refused_whole(released, tmp_path):
    for system, other in (("aqatrack", "evptrack"), ("evptrack", "aqatrack")):
        model = MODELS[system][0]()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with pytest.raises(CheckpointError) as error:
            model.load_released(released(other))
        assert {"aqatrack": "transformer_dec", "evptrack": "STPG"}[other] in str(error.value)
        assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    larger = golden("aqatrack/weights")
    larger["backbone.pos_embed_x"] = torch.zeros(1, 64, 32)
    with pytest.raises(CheckpointError, match=r"search_positions.*\(1, 64, 32\).*\(1, 49, 32\)"):
        aqatrack_model().load_released(released("aqatrack", net=larger))


def test_what_is_no_released_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.pth"):
        read_net(tmp_path / "none.pth")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="model.*net"):
        read_net(tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(UnreadableCheckpointError, match="broken.pth"):
        read_net(tmp_path / "broken.pth")


def test_the_tool_converts_them(released, tmp_path):
    cfg = centre_config("AQATrack", INPUT__SOT__TEMPLATE_SIZE=64, INPUT__SOT__SEARCH_SIZE=112)
    cfg.MODEL.AQATRACK.DEC_LAYERS, cfg.MODEL.CENTRE_HEAD.WIDTH = 3, 32
    (tmp_path / "config.yaml").write_text(cfg.dump())
    output = tmp_path / "out" / "model.pth"
    arguments = ["--config-file", str(tmp_path / "config.yaml"), "--weights", str(released("aqatrack"))]
    main(["import", *arguments, "--output", str(output)])
    cfg = make_config(str(tmp_path / "config.yaml"), ["MODEL.WEIGHTS", str(output)])
    model = OpenWorldTrainer.build_model(cfg)
    EffOWTCheckpointer(model).load(str(output))
    state = model.eval().start(frames(0)[0], [[10.0, 10, 50, 40]])
    found, _ = model.step(state, frames(0)[1])
    reference = aqatrack_model("always").eval()
    reference.search, reference.template = model.search, model.template
    wanted, _ = reference.step(reference.start(frames(0)[0], [[10.0, 10, 50, 40]]), frames(0)[1])
    torch.testing.assert_close(found.boxes, wanted.boxes)
