"""EVA's detection checkpoints as towers: the detector's own features, or an error."""

import logging

import pytest
import torch
from helpers.messages import assert_says, raises
from helpers.tiny_eva import SWITCHES, detector_state, detector_trunk, register_tiny_evas

from effowt_d2.modeling.tower import build_tower


@pytest.fixture
def import_state(tiny, tmp_path):
    """Write a state dict as a detector's checkpoint, and build a tower of it."""
    register_tiny_evas(tmp_path)

    def import_state(name, state, **settings):
        torch.save({"model": state, "iteration": 59999}, tmp_path / "eva.pth")
        return build_tower(name, str(tmp_path / "eva.pth"), **settings)

    return import_state


@pytest.mark.parametrize("patch_size", [14, 16])
@pytest.mark.parametrize("name", SWITCHES)
def test_features_are_those_of_the_detectors_trunk(import_state, name, patch_size, caplog):
    caplog.set_level(logging.INFO)
    trunk = detector_trunk(name, patch_size=patch_size)
    state = detector_state(trunk)
    tower = import_state(name, state, canvas=0)
    images = torch.randn(2, 3, 48, 48)
    scaled = images
    if patch_size == 14:
        scaled = torch.nn.functional.interpolate(images, size=(42, 42), mode="bilinear")
    with torch.no_grad():
        expected = trunk.forward_intermediates(scaled, intermediates_only=True)
    taps = tower(images)
    assert len(taps) == len(expected) == 3
    for tap, reference in zip(taps, expected):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=0)
    assert tower.patch_size == patch_size and tower.prefix == 0
    assert tower.pixel_mean == (0.485, 0.456, 0.406) and tower.pixel_std == (0.229, 0.224, 0.225)
    assert_says(caplog.text, "backbone.net.pos_embed", "backbone.simfp_2")
    if name == "tiny-eva02":
        assert_says(caplog.text, "backbone.net.blocks.N.mlp.w1.weight", "blocks.N.mlp.fc1_g.weight", "(3)")
        assert_says(caplog.text, "canvas 6", "window 2")


def test_features_do_not_depend_on_padding(import_state):
    for window in (0, 2):
        tower = import_state("tiny-eva02", detector_state(detector_trunk("tiny-eva02")), canvas=8, window=window)
        small, large = torch.zeros(1, 3, 48, 48), torch.zeros(1, 3, 128, 96)
        small[...] = large[..., :48, :48] = torch.randn(1, 3, 48, 48)
        mask = torch.zeros(1, 8, 6, dtype=torch.bool)
        mask[:, :3, :3] = True
        for a, b in zip(tower(small), tower(large, mask)):
            torch.testing.assert_close(a, b[..., :3, :3], atol=1e-5, rtol=0)
            assert b.isfinite().all()


def test_the_hash_and_the_trained_parameters_are_the_files(import_state):
    state = detector_state(detector_trunk("tiny-eva01"))
    torch.manual_seed(1)
    first = import_state("tiny-eva01", state)
    torch.manual_seed(2)
    assert import_state("tiny-eva01", state).weights_hash() == first.weights_hash()
    tower = import_state("tiny-eva01", state, frozen=False).train()
    tower(torch.randn(1, 3, 64, 64))[-1].sum().backward()
    assert all(parameter.grad is not None for parameter in tower.parameters())


def test_relative_positions_are_refused_unless_a_key_allows_them(import_state, caplog):
    state = detector_state(detector_trunk("tiny-eva01"))
    state["backbone.net.blocks.0.attn.rel_pos_h"] = torch.zeros(5, 16)
    # tables that were never trained change nothing
    tower = import_state("tiny-eva01", state)
    state["backbone.net.blocks.0.attn.rel_pos_w"] = torch.ones(5, 16)
    with raises(ValueError, "eva.pth", "MODEL.VLM.DROP_RELATIVE_POSITIONS"):
        import_state("tiny-eva01", state)
    assert "dropped" not in caplog.text
    assert import_state("tiny-eva01", state, drop_relative_positions=True).weights_hash() == tower.weights_hash()
    assert_says(caplog.text, 1, "relative positions", "dropped")


def test_what_does_not_fit_is_reported(import_state):
    state = detector_state(detector_trunk("tiny-eva02"))
    with raises(ValueError, "eva.pth", "tiny-vit", "EVA"):
        import_state("tiny-vit", state)
    with raises(ValueError, "missing: blocks.N.attn.qkv.weight", "(3)", "unexpected: blocks.N.attn.q_proj.weight"):
        import_state("tiny-eva01", state)
    del state["backbone.net.blocks.1.norm2.weight"]
    state["backbone.net.blocks.2.residual.conv1.weight"] = torch.zeros(1)
    state["backbone.net.patch_embed.proj.bias"] = torch.zeros(32)
    wrong = (
        "missing: blocks.1.norm2.weight",
        "unexpected: blocks.2.residual.conv1.weight",
        "patch_embed.proj.bias",
        "(32,)",
        "(64,)",
    )
    with raises(ValueError, *wrong):
        import_state("tiny-eva02", state)
    state["backbone.net.pos_embed"] = torch.zeros(1, 12, 64)
    with raises(ValueError, "pos_embed", 12):
        import_state("tiny-eva02", state)
    del state["backbone.net.patch_embed.proj.weight"]
    with raises(ValueError, "patch_embed.proj.weight"):
        import_state("tiny-eva02", state)
