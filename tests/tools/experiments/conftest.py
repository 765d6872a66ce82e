import pytest
from helpers.small_plan import Runs


@pytest.fixture
def runs(tmp_path) -> Runs:
    return Runs(tmp_path)
