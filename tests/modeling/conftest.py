"""Tiny towers of every family, with open_clip's own modules and random weights."""

import pytest
import torch
from helpers.tiny_clip import register_clips, vit

from effowt_d2.modeling.tower import build_tower

TINY = {"tiny-vit": vit(), "tiny-vit-14": vit(image_size=56, patch_size=14)}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 4, heads 4, patch 16, grid 4 x 4."""
    register_clips(tmp_path_factory.mktemp("open_clip_configs"), TINY)
    return "tiny-vit"


@pytest.fixture
def tower(tiny):
    torch.manual_seed(0)
    return build_tower(tiny, "", allow_random=True, canvas=8)
