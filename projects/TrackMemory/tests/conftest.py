"""A tiny detector whose tracks remember, and clips for it."""

import pytest
import torch
import track_memory
from detectron2.modeling import build_model
from helpers.configs import set_keys
from helpers.tiny_detector import objects, picture, tiny_config

SMALL = {
    "MODEL.META_ARCHITECTURE": "MemoryTracker",
    "MODEL.TRACK_MEMORY.WIDTH": 16,
    "MODEL.TRACK_MEMORY.HEADS": 2,
}


def tiny_memory(**options):
    """Config of the detector with a memory; options are keys with ``__`` for the dots."""
    cfg = tiny_config()
    track_memory.add_config(cfg)
    return set_keys(cfg, SMALL, **options)


@pytest.fixture
def make():
    """Builds a model with the same weights each time."""

    def make(**options):
        torch.manual_seed(0)
        return build_model(tiny_memory(**options))

    return make


def view(seed, ids, boxes=((8, 8, 40, 40), (50, 20, 80, 60), (4, 40, 30, 60))):
    """A frame with the objects of these numbers, each at a place of its own."""
    return {"image": picture(seed), "instances": objects([boxes[i] for i in ids], (64, 96), list(ids))}


def clip(*ids):
    """A clip of as many frames, with these objects in each."""
    return {"frames": [view(number, seen) for number, seen in enumerate(ids)]}
