"""A tiny tower for trackers."""

import pytest
from helpers.tiny_clip import register_clips, vit


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 2, heads 4, patch 16, grid 4 x 4."""
    register_clips(tmp_path_factory.mktemp("open_clip_configs"), {"tiny-vit-2": vit(layers=2)})
    return "tiny-vit-2"
