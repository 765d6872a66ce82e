"""Configs find their files and bases by path or zoo name, and import the modules that they name."""

import json
import sys

import pytest
import torch
from detectron2.utils.file_io import PathManager
from helpers.messages import raises

from effowt_d2 import VideoTracker, model_zoo
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine import find_config, make_config
from effowt_d2.inference.tracking_config import make_tracking_config
from effowt_d2.utils.imports import ConfigImportError

NAME = "quick/shapes_ow_effowt.yaml"
KEYS = """
from detectron2.config import CfgNode
calls = 0
def add_config(cfg):
    global calls
    calls += 1
    cfg.MODEL.{0} = CfgNode()
    cfg.MODEL.{0}.SIZE = 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Modules ``project_a`` and ``project_b``, each with a key of its own, ``plain_module``, and broken ones."""
    modules = {
        "project_a": KEYS.format("PROJECT_A"),
        "project_b": KEYS.format("PROJECT_B"),
        "plain_module": "",
        "raises": "numbers = {}\nnumbers['missing']\n",
        "lacks": "import module_that_is_not_there\n",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in modules:
        sys.modules.pop(name, None)


def written(folder, text, name="own.yaml"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def as_text(cfg):
    # in which a tuple is a list
    return json.dumps(cfg)


@pytest.mark.parametrize(
    "source", [NAME, "quick/shapes_ow_effowt", f"effowt://{NAME}", "effowt://quick/shapes_ow_effowt"]
)
def test_zoo_names_are_files(source):
    assert find_config(source) == model_zoo.get_config_file(NAME)
    assert make_config(source) == model_zoo.get_config(NAME) and not make_config(source).MODEL.WEIGHTS


def test_a_file_comes_before_a_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    written(folder, "SEED: 71\n", NAME)
    assert make_config(NAME).SEED == 71
    assert make_config("quick/shapes_ow_effowt").SEED != 71


def test_neither_a_file_nor_a_name():
    with raises(FileNotFoundError, "quick/nothing.yaml", model_zoo.config_names()):
        make_config("quick/nothing.yaml")


def test_a_lazy_config_is_refused():
    with raises(ValueError, "configs/quick/lazy_mask_rcnn.py", "tools/lazyconfig_train_net.py"):
        make_config("configs/quick/lazy_mask_rcnn.py")
    with raises(ValueError, "configs/quick/lazy_mask_rcnn.py", "tools/lazyconfig_train_net.py"):
        VideoTracker("configs/quick/lazy_mask_rcnn.py")


@pytest.mark.parametrize("base", ["effowt://EffOWT/effowt_vit_l14.yaml", "effowt://EffOWT/effowt_vit_l14"])
def test_a_base_of_the_zoo_serves_anywhere(folder, base):
    file = written(folder, f"_BASE_: {base}\nSEED: 72\n")
    expected = model_zoo.get_config("EffOWT/effowt_vit_l14")
    expected.SEED = 72
    assert make_config(file) == expected
    further = written(folder, "_BASE_: ../own.yaml\nMODEL: {WEIGHTS: trained.pth}\n", "below/further.yaml")
    expected.MODEL.WEIGHTS = "trained.pth"
    assert make_config(further) == expected
    tracking = make_tracking_config(further, device="cpu")
    assert (tracking.SEED, tracking.MODEL.VLM.NAME) == (72, "ViT-L-14")


def test_several_bases_of_the_zoo(folder):
    written(folder, "SEED: 73\n", "seed.yaml")
    file = written(folder, f"_BASE_: ['effowt://{NAME}', seed.yaml]\n")
    expected = model_zoo.get_config(NAME)
    expected.SEED = 73
    assert make_config(file) == expected


def test_a_base_that_is_not_in_the_zoo(folder):
    for name in ("EffOWT/gone.yaml", "../setup.yaml"):
        file = written(folder, f"_BASE_: effowt://{name}\n")
        with raises(FileNotFoundError, file, name, model_zoo.config_names()):
            make_config(file)
    file = written(folder, "_BASE_: gone.yaml\n")
    with raises(FileNotFoundError, file, folder / "gone.yaml"):
        make_config(file)


@pytest.mark.parametrize("text", ["_BASE_: own.yaml", "- SEED", "", "SEED", "VERSION: 1", "IMPORTS: project_a"])
def test_files_that_are_no_config(folder, text):
    file = written(folder, text)
    with raises(ValueError, file):
        make_config(file)


def test_modules_are_imported_from_file_base_and_options(folder):
    written(folder, "IMPORTS: ('project_a',)\nMODEL: {PROJECT_A: {SIZE: 2}}\n", "base.yaml")
    file = written(folder, "_BASE_: base.yaml\nIMPORTS: [plain_module, project_a]\nMODEL: {PROJECT_A: {SIZE: 3}}\n")
    options = ["IMPORTS", "('project_b',)", "MODEL.PROJECT_B.SIZE", "5"]
    cfg = make_config(file, options)
    assert cfg.IMPORTS == ("project_a", "plain_module", "project_b")
    assert (cfg.MODEL.PROJECT_A.SIZE, cfg.MODEL.PROJECT_B.SIZE) == (3, 5)
    assert "plain_module" in sys.modules and sys.modules["project_a"].calls == 1
    # a second config has the keys too
    assert make_config(file, options) == cfg and sys.modules["project_a"].calls == 2
    # without the module its key is unknown
    with raises(ValueError, "MODEL.PROJECT_B"):
        make_config(file, options[2:])


def test_what_a_run_writes_of_its_config_loads_again(folder):
    file = written(folder, "_BASE_: effowt://EffOWT/effowt_vit_l14\nIMPORTS: ('project_a',)\n")
    cfg = make_config(file, ["MODEL.PROJECT_A.SIZE", "4"])
    EffOWTCheckpointer(torch.nn.Linear(1, 1), str(folder), config=cfg.dump()).save("model")
    stored = torch.load(folder / "model.pth", weights_only=True)["effowt"]["config"]
    again = make_config(written(folder, stored, "config.yaml"))
    assert as_text(again) == as_text(cfg) and again.MODEL.PROJECT_A.SIZE == 4


def test_options_on_a_config_import_too(folder):
    written(folder, "IMPORTS: ('project_a',)\n")
    cfg = make_config(str(folder / "own.yaml"))
    cfg.MODEL.PROJECT_A.SIZE = 6
    opts = ("IMPORTS", ("project_b",), "MODEL.PROJECT_B.SIZE", 7)
    tracking = make_tracking_config(cfg, device="cpu", opts=opts)
    assert tracking.IMPORTS == ("project_a", "project_b")
    # the keys that were there are left as they were
    assert (tracking.MODEL.PROJECT_A.SIZE, tracking.MODEL.PROJECT_B.SIZE) == (6, 7)
    assert cfg.IMPORTS == ("project_a",)


@pytest.mark.parametrize(
    "module, reason",
    [
        ("project_c", ()),
        ("lacks", ("module_that_is_not_there",)),
        ("raises", ("KeyError", "missing", "raises.py", 2)),
        (".project_a", ()),
    ],
)
def test_modules_that_cannot_be_imported(folder, module, reason):
    file = written(folder, f"IMPORTS: ('{module}',)\n")
    with raises(ConfigImportError, f"'{module}'", *reason, "pip install -e projects/NAME"):
        make_config(file)
    with raises(ValueError, f"'{module}'", *reason, "pip install -e projects/NAME"):
        make_tracking_config(NAME, opts=("IMPORTS", (module,)))


def test_a_zoo_path_that_cannot_be_written():
    with raises(OSError, f"effowt://{NAME}"), PathManager.open(f"effowt://{NAME}", "w"):
        pass
