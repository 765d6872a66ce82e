"""LoRAT learns to follow the clip that it is trained on, in closed loop (slow).

Threshold and settings are those of the specification's prototype.
"""

import pytest
from helpers.overfit import closed_loop, forget, overfit
from sot.data.made_clips import make_clips


@pytest.fixture(autouse=True)
def _forget():
    yield
    forget()


@pytest.mark.slow
def test_lorat_follows_one_clip(tmp_path):
    options = {"SOLVER__MAX_ITER": 800, "SOLVER__BASE_LR": 4e-3}
    assert closed_loop(*overfit("LoRAT", "lora", make_clips(1, frames=24), tmp_path, **options)) > 70
