import numpy as np
import pytest
from helpers.colour_clip import colour_config, write_colour_clip


@pytest.fixture(scope="session")
def colour_file(tmp_path_factory):
    """Weights of the model that knows colours."""
    return write_colour_clip(tmp_path_factory.mktemp("colour_clip"))


@pytest.fixture
def cfg(colour_file):
    """A config of that model; crops are the box and nothing else, texts the word and nothing else."""
    return colour_config(colour_file)


@pytest.fixture
def noise():
    """A frame (96, 128, 3) of noise."""
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
