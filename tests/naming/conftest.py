import numpy as np
import pytest
from detectron2.config import get_cfg
from helpers.colour_clip import NAME, write_colour_clip

from effowt_d2 import add_effowt_config


@pytest.fixture(scope="session")
def colour_file(tmp_path_factory):
    """Weights of the model that knows colours."""
    return write_colour_clip(tmp_path_factory.mktemp("colour_clip"))


@pytest.fixture
def cfg(colour_file):
    """A config of that model; crops are the box and nothing else, texts the word and nothing else."""
    cfg = get_cfg()
    add_effowt_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.WEIGHTS = NAME, colour_file
    cfg.NAMING.TEMPLATES, cfg.NAMING.CONTEXT = ["{}"], 0.0
    return cfg


@pytest.fixture
def noise():
    """A frame (96, 128, 3) of noise."""
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
