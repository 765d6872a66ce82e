"""What the tests of runs that are disturbed share."""

import pytest
from helpers import stand_in


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder with the small datasets, drawn before any process of a test needs them."""
    folder = tmp_path_factory.mktemp("shapes")
    stand_in.register(folder)
    for name in ("mini_train", "mini_val"):
        stand_in.DatasetCatalog.get(name)
    return folder
