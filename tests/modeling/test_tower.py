"""The tower: open_clip's features, frozen, with masked padding, and never silently random."""

import open_clip
import pytest
import torch
from helpers.messages import raises
from helpers.tiny_eva import SWITCHES, register_tiny_evas

from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.positions import top_left


def random_weights(name, path):
    torch.manual_seed(3)
    model = open_clip.create_model(name)
    torch.save(model.state_dict(), path)
    return model.visual.eval()


@pytest.mark.parametrize("name,side", [("tiny-vit", 64), ("tiny-vit-14", 56)])
def test_taps_equal_open_clips_intermediates_at_the_pretraining_size(tiny, tmp_path, name, side):
    visual = random_weights(name, tmp_path / "clip.pt")
    tower = build_tower(name, str(tmp_path / "clip.pt"), canvas=0)
    # a patch-14 tower gets its images at stride 16 and scales them down itself
    images = torch.randn(2, 3, 64, 64)
    scaled = torch.nn.functional.interpolate(images, size=(side, side), mode="bilinear")
    with torch.no_grad():
        expected = visual.forward_intermediates(scaled, intermediates_only=True)["image_intermediates"]
    for tap, reference in zip(tower(images), expected):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", SWITCHES)
def test_eva_taps_equal_open_clips_intermediates(tmp_path, name):
    register_tiny_evas(tmp_path)
    torch.manual_seed(0)
    tower = build_tower(name, "", allow_random=True, canvas=0)
    images = torch.randn(2, 3, 64, 64)
    scaled = torch.nn.functional.interpolate(images, size=(56, 56), mode="bilinear")
    with torch.no_grad():
        expected = tower.trunk.forward_intermediates(scaled, intermediates_only=True)["image_intermediates"]
    for tap, reference in zip(tower(images), expected):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=0)


def test_a_frozen_tower_has_no_graph_and_stays_in_eval_mode(tower):
    tower.train()
    taps = tower(torch.randn(1, 3, 64, 64, requires_grad=True))
    assert not tower.training and not any(module.training for module in tower.modules())
    assert all(not tap.requires_grad and tap.grad_fn is None for tap in taps)
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_a_trained_tower_leaves_out_only_what_takes_no_part(tiny):
    tower = build_tower(tiny, "", allow_random=True, canvas=0, frozen=False).train()
    assert tower.training
    tower(torch.randn(1, 3, 64, 64))[-1].sum().backward()
    for name, parameter in tower.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert {n.split(".")[1] for n, p in tower.named_parameters() if not p.requires_grad} == {"ln_post", "proj"}


@pytest.mark.parametrize("window", [0, 3, 4])
@pytest.mark.parametrize("name", ["tiny-vit", "tiny-vit-14", *SWITCHES])
def test_features_do_not_depend_on_padding_or_company(tiny, tmp_path, name, window):
    register_tiny_evas(tmp_path)
    torch.manual_seed(0)
    tower = build_tower(name, "", allow_random=True, canvas=8, window=window)
    image = torch.randn(3, 40, 50)
    alone, together = torch.zeros(1, 3, 48, 64), torch.zeros(2, 3, 96, 128)
    alone[0, :, :40, :50] = together[0, :, :40, :50] = image
    together[1] = torch.randn(3, 96, 128)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, :3, :4] = mask[1] = True
    for a, b in zip(tower(alone), tower(together, mask)):
        torch.testing.assert_close(a[0], b[0, :, :3, :4], atol=1e-5, rtol=0)


def test_positions_are_resized_once_and_cropped(tower):
    small, large = tower(torch.zeros(1, 3, 32, 32), taps=[0]), tower(torch.zeros(1, 3, 128, 128), taps=[0])
    positions = tower._canvas_positions(torch.device("cpu"))
    assert positions.shape == (64, 8, 8)
    assert small[0].shape[-2:] == (2, 2) and large[0].shape[-2:] == (8, 8)
    assert torch.equal(top_left(positions, (2, 2)), positions[:, :2, :2])


def test_images_outside_the_canvas_share_its_border(tower, caplog):
    tower(torch.zeros(1, 3, 160, 32))
    tower(torch.zeros(1, 3, 160, 32))
    assert sum("exceeds the position canvas of 8" in record.message for record in caplog.records) == 1
    positions = tower._canvas_positions(torch.device("cpu"))
    assert torch.equal(top_left(positions, (10, 2))[:, 9], positions[:, 7, :2])


def test_the_hash_distinguishes_weights(tiny, tower):
    torch.manual_seed(0)
    assert build_tower(tiny, "", allow_random=True).weights_hash() == tower.weights_hash()
    torch.manual_seed(1)
    assert build_tower(tiny, "", allow_random=True).weights_hash() != tower.weights_hash()


def test_bad_input_is_reported(tiny, tower, tmp_path):
    with raises(ValueError, "tiny-vitt", "tiny-vit-14"):
        build_tower("tiny-vitt", "", allow_random=True)
    with raises(ValueError, "weights", "ViT-B-16", "openclip://openai", "allow_random"):
        build_tower("ViT-B-16", "")
    with raises(ValueError, "gone", "ViT-B-16", "openai"):
        build_tower("ViT-B-16", "openclip://gone")
    with raises(FileNotFoundError, "gone.pt"):
        build_tower(tiny, str(tmp_path / "gone.pt"))
    with raises(ValueError, "RN50", "ClipViT", "EvaViT"):
        build_tower("RN50", "", allow_random=True)
    random_weights("tiny-vit-14", tmp_path / "other.pt")
    with raises(ValueError, "other.pt", "tiny-vit", "conv1.weight"):
        build_tower(tiny, str(tmp_path / "other.pt"))
    with raises(ValueError, 50, 64, 16):
        tower(torch.zeros(1, 3, 50, 64))
    with raises(ValueError, "taps", "[4]", 0, 3):
        tower(torch.zeros(1, 3, 64, 64), taps=[1, 4])
