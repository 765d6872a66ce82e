"""Tiny towers of every family, with open_clip's own modules and random weights."""

import json

import open_clip
import pytest
import torch

from effowt_d2.modeling.tower import build_tower

TINY = {
    "tiny-vit": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    },
    "tiny-vit-14": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 56, "layers": 4, "width": 64, "head_width": 16, "patch_size": 14},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    },
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Name of a tiny plain ViT known to open_clip: width 64, depth 4, heads 4, patch 16, grid 4 x 4."""
    folder = tmp_path_factory.mktemp("open_clip_configs")
    for name, config in TINY.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    return "tiny-vit"


@pytest.fixture
def tower(tiny):
    torch.manual_seed(0)
    return build_tower(tiny, "", allow_random=True, canvas=8)
