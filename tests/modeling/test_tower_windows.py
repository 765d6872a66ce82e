"""Blocks in windows: each window an image of its own, some blocks global, padding without effect."""

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_eva import SWITCHES, detector_state, detector_trunk, register_tiny_evas

from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.windows import window_blocks

TOWERS = ["tiny-vit", "tiny-vit-14", *SWITCHES]


@pytest.fixture
def build(tiny, tmp_path):
    register_tiny_evas(tmp_path)

    def build(name, **settings):
        torch.manual_seed(0)
        return build_tower(name, "", allow_random=True, canvas=8, **settings)

    return build


def without_positions(tower):
    """Only where a token lies in its window tells it apart then."""
    with torch.no_grad():
        if hasattr(tower.trunk, "positional_embedding"):
            tower.trunk.positional_embedding[1:] = 0
        else:
            tower.trunk.trunk.pos_embed[:, tower.prefix :] = 0
    return tower


def assert_each_window_is_an_image_of_its_own(tower, window):
    images = torch.randn(2, 3, 96, 64)
    (whole,) = tower(images, taps=[0])
    for y in range(0, 6, window):
        for x in range(0, 4, window):
            crop = images[:, :, 16 * y : 16 * (y + window), 16 * x : 16 * (x + window)]
            if crop.shape[-2:] == (16 * window, 16 * window):
                (alone,) = tower(crop, taps=[0])
                there = whole[:, :, y : y + window, x : x + window]
                torch.testing.assert_close(there, alone, atol=5e-5, rtol=0)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("name", ["tiny-vit", *SWITCHES])
def test_each_window_is_an_image_of_its_own(build, name, window):
    tower = without_positions(build(name, window=window, global_blocks=[1, 2]))
    assert_each_window_is_an_image_of_its_own(tower, window)


@pytest.mark.parametrize("window", [2, 3])
def test_a_detectors_windows_have_rotary_positions_of_their_own(build, tmp_path, window):
    trunk = detector_trunk("tiny-eva02")
    torch.save({"model": detector_state(trunk)}, tmp_path / "eva.pth")
    tower = build_tower("tiny-eva02", str(tmp_path / "eva.pth"), canvas=8, window=window, global_blocks=[1, 2])
    without_positions(tower)
    assert_each_window_is_an_image_of_its_own(tower, window)
    image = torch.randn(1, 3, 16 * window, 16 * window)
    trunk.set_input_size(img_size=(16 * window, 16 * window))
    with torch.no_grad():
        trunk.pos_embed.zero_()
        expected = trunk.forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(tower(image, taps=[0])[0], expected[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TOWERS)
def test_one_window_is_global_attention(build, name):
    images = torch.randn(2, 3, 64, 48)
    for a, b in zip(build(name, window=4)(images), build(name)(images)):
        assert torch.equal(a, b)


def test_windows_matter_and_the_class_token_joins_them(build):
    images = torch.randn(1, 3, 96, 96)
    changed = images.clone()
    changed[..., 64:, 64:] += 1
    tower = build("tiny-vit", window=3, global_blocks=[3])
    difference = [(a - b).abs()[0, :, :3, :3].max() for a, b in zip(tower(images), tower(changed))]
    # another window's change: unseen in the first block, through the mean class token in the next
    assert difference[0] == 0 and difference[1] > 0
    assert not torch.allclose(tower(images)[0], build("tiny-vit")(images)[0], atol=1e-3)


def test_which_blocks_are_global():
    assert window_blocks(0, [], 12) == frozenset()
    assert set(range(12)) - window_blocks(16, [], 12) == {3, 7, 11}
    assert set(range(5)) - window_blocks(16, [], 5) == {0, 4}
    assert window_blocks(16, [0, 2], 4) == {1, 3}


def test_bad_windows_are_reported(build):
    with raises(ValueError, "window", -1):
        build("tiny-vit", window=-1)
    with raises(ValueError, "global_blocks", "[4]", 0, 3):
        build("tiny-vit", window=4, global_blocks=[1, 4])
