"""What the tests of runs that are disturbed share."""

import socket

import pytest
from detectron2.data import DatasetCatalog
from helpers import small_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder with the small datasets, drawn before any process of a test needs them."""
    folder = tmp_path_factory.mktemp("shapes")
    small_shapes.register(folder)
    for name in ("mini_train", "mini_val"):
        DatasetCatalog.get(name)
    return folder


@pytest.fixture
def port():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
