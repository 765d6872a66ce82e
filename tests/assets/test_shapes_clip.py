"""The shipped vision-language model: small, and what open_clip loads is what the file holds."""

import open_clip
import torch
from helpers.messages import raises

from effowt_d2.assets import SHAPES_CLIP, register_vlm_configs, vlm_checkpoint


def test_config_is_known_to_open_clip_once():
    register_vlm_configs()
    register_vlm_configs()
    assert open_clip.list_models().count(SHAPES_CLIP) == 1


def test_checkpoint_is_small_and_half_precision():
    path = vlm_checkpoint()
    assert path.stat().st_size <= 12e6
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}


def test_loaded_tensors_are_those_of_the_file():
    register_vlm_configs()
    model = open_clip.create_model(SHAPES_CLIP, pretrained=str(vlm_checkpoint())).eval()
    state = torch.load(vlm_checkpoint(), map_location="cpu", weights_only=True)["state_dict"]
    loaded = model.state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[name], tensor.float()) for name, tensor in state.items())


def test_a_checkpoint_nobody_ships_is_an_error():
    with raises(KeyError, "NoSuchModel", SHAPES_CLIP):
        vlm_checkpoint("NoSuchModel")
