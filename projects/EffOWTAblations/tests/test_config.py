"""The project's config, and that every key of it is read."""

from pathlib import Path

import pytest
from effowt_ablations import add_config
from helpers.configs import plugin_config

from effowt_d2.engine import make_config

CONFIG = Path(__file__).parents[1] / "configs" / "shapes_ow_ablations.yaml"


def leaves(node, path=""):
    for key, value in node.items():
        yield from leaves(value, f"{path}{key}.") if hasattr(value, "items") else [f"{path}{key}"]


def project_keys():
    ours, theirs = plugin_config(), plugin_config()
    add_config(ours)
    return sorted(set(leaves(ours)) - set(leaves(theirs)))


def test_the_config_knows_the_keys():
    cfg = make_config(str(CONFIG), ["MODEL.SIDE.SIM.KIND", "random", "MODEL.SIDE.SEED", "3"])
    assert set(project_keys()) <= set(leaves(cfg)) and cfg.MODEL.SIDE.SEED == 3
    assert cfg.MODEL.VLM.NAME == "ShapesCLIP-S-16"


# what makes a difference, by key: other options, and two values
EFFECTS = {
    "MODEL.SIDE.MATCH_PARAMS": (("TRANSFER.STRATEGY", "side_transformer"), False, True),
    "MODEL.SIDE.SEED": (("SIDE.INIT", "random"), 1, 2),
    "MODEL.SIDE.SIM.COEFFICIENTS": (("SIDE.SIM.KIND", "dct"), 3, 4),
    "MODEL.SIDE.SIM.RESOLUTION": (("SIDE.SIM.KIND", "fixed"), 16, 32),
    "MODEL.SIDE.FISHER_SAMPLES": (("SIDE.INIT", "fisher"), 1, 2),
}


@pytest.mark.parametrize("key", project_keys())
def test_every_key_has_an_effect(build, key):
    options, *values = EFFECTS[key]
    first, second = (build(*options, key.removeprefix("MODEL."), value).strategy for value in values)
    if key == "MODEL.SIDE.FISHER_SAMPLES":
        assert (first.init.fisher_samples, second.init.fisher_samples) == (1, 2)
    else:
        a, b = first.state_dict(), second.state_dict()
        assert any(a[k].shape != b[k].shape or not a[k].equal(b[k]) for k in a)
