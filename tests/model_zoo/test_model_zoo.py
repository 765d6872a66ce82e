"""Configs, checkpoints and weights by name."""

from pathlib import Path

import open_clip
import pytest
import torch
from helpers.messages import raises

from effowt_d2 import model_zoo
from effowt_d2.assets.paths import resolve_weights
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.model_zoo.zoo import CHECKPOINT_URLS

TOWERS = {
    "vit_b16": "ViT-B-16",
    "vit_l14": "ViT-L-14",
    "vit_h14": "ViT-H-14",
    "eva02_b16": "EVA02-B-16",
    "eva02_l14": "EVA02-L-14",
    "eva01_g14": "EVA01-g-14",
}
STRATEGIES = {"": "side", "_zero_shot": "zero_shot", "_full": "full"}
FULL_SIZE = {
    f"EffOWT/effowt_{tower}{ending}.yaml": (TOWERS[tower], strategy)
    for tower in TOWERS
    for ending, strategy in STRATEGIES.items()
}


def test_every_tower_has_every_strategy():
    assert {name for name in model_zoo.config_names() if name.startswith("EffOWT/")} == set(FULL_SIZE)


@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_configs_differ_in_what_they_say(name):
    cfg = model_zoo.get_config(name)
    assert (cfg.MODEL.VLM.NAME, cfg.MODEL.TRANSFER.STRATEGY) == FULL_SIZE[name]
    tag = cfg.MODEL.VLM.WEIGHTS.removeprefix("openclip://")
    weights = open_clip.get_pretrained_cfg(cfg.MODEL.VLM.NAME, tag)
    # the pixels of the config are the tower's, so the backbone need not convert them
    assert cfg.INPUT.FORMAT == "RGB"
    assert [255 * value for value in weights["mean"]] == pytest.approx(cfg.MODEL.PIXEL_MEAN)
    assert [255 * value for value in weights["std"]] == pytest.approx(cfg.MODEL.PIXEL_STD)


def test_schedule_is_what_its_comments_say():
    solver = model_zoo.get_config("EffOWT/effowt_vit_b16.yaml").SOLVER
    epoch = 117266 / solver.IMS_PER_BATCH
    assert solver.MAX_ITER == pytest.approx(12 * epoch, abs=1)
    assert solver.STEPS == (pytest.approx(8 * epoch, abs=1), pytest.approx(11 * epoch, abs=1))
    assert solver.BASE_LR * solver.SIDE_LR_FACTOR == pytest.approx(1e-3)


@pytest.mark.parametrize("name", model_zoo.config_names())
def test_every_config_loads_with_the_extension_or_without(name):
    assert model_zoo.get_config(name.removesuffix(".yaml")) == model_zoo.get_config(name)
    assert Path(model_zoo.get_config_file(name)).is_file()


def test_unknown_names_list_the_known_ones():
    with raises(KeyError, "EffOWT/gone.yaml", model_zoo.config_names()):
        model_zoo.get_config_file("EffOWT/gone.yaml")
    # neither the base nor a way out of the folder is a config
    for name in ("EffOWT/Base-EffOWT.yaml", "../pyproject.toml", "EffOWT/../EffOWT/effowt_vit_b16.yaml"):
        with raises(KeyError, name):
            model_zoo.get_config_file(name)


def test_untrained_configs_say_so():
    with raises(KeyError, "EffOWT/effowt_vit_b16.yaml", "quick/shapes_ow_effowt.yaml"):
        model_zoo.get_config("EffOWT/effowt_vit_b16.yaml", trained=True)


@pytest.mark.parametrize("stem", CHECKPOINT_URLS)
def test_trained_models_load(stem):
    cfg = model_zoo.get_config(f"{stem}.yaml", trained=True)
    assert cfg.MODEL.WEIGHTS == model_zoo.get_checkpoint_url(stem)
    model = model_zoo.get(stem, trained=True, device="cpu")
    stored = torch.load(resolve_weights(cfg.MODEL.WEIGHTS), weights_only=True)["model"]
    state = model.state_dict()
    assert stored and all(torch.equal(state[key], value.to(state[key])) for key, value in stored.items())


def test_what_cannot_be_fetched_is_named():
    # nothing listens on this port of this machine
    with raises(OSError, "http://127.0.0.1:9/a.pth"):
        EffOWTCheckpointer(torch.nn.Linear(1, 1)).load("http://127.0.0.1:9/a.pth")
