"""The towers at their real sizes against open_clip's own intermediates, with random weights; minutes and gigabytes.

    pytest -m slow -s tests/modeling/test_tower_slow.py

prints the figures of docs/benchmarks.md.
"""

import gc

import pytest
import torch
from torch.nn.functional import interpolate

from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.tower import STRIDE

TOWERS = ["ViT-B-16", "ViT-L-14", "ViT-H-14", "EVA02-B-16", "EVA02-L-14", "EVA01-g-14"]
CLIP_SIDE = 224


@pytest.fixture(autouse=True)
def one_model_at_a_time():
    yield
    gc.collect()


def random_tower(name):
    torch.manual_seed(0)
    tower = build_tower(name, "", allow_random=True, canvas=0)
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.ndim == 1:
                # norms start at one, biases at zero, where an error in their use would not show
                parameter.add_(torch.randn_like(parameter), alpha=0.01)
    return tower


@pytest.mark.slow
@pytest.mark.parametrize("name", TOWERS)
def test_taps_equal_open_clips_intermediates(name):
    tower = random_tower(name)
    grid = CLIP_SIDE // tower.patch_size
    images = torch.randn(1, 3, STRIDE * grid, STRIDE * grid)
    scaled = images
    if tower.patch_size != STRIDE:
        scaled = interpolate(images, size=(CLIP_SIDE, CLIP_SIDE), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = tower.trunk.forward_intermediates(scaled, intermediates_only=True)["image_intermediates"]
    taps = tower(images)
    assert len(taps) == len(expected) == tower.depth
    worst = max((tap - reference).abs().max().item() for tap, reference in zip(taps, expected))
    largest = max(reference.abs().max().item() for reference in expected)
    print(f"\n| {name} | {tower.depth} | {largest:.2f} | {worst:.1e} |")
    assert worst <= 1e-5, f"{name}: max abs difference {worst:.3g}, of values up to {largest:.3g}"
