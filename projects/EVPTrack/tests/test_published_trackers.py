"""Names, shapes and counts of the published sizes of AQATrack and EVPTrack, on the meta device."""

import json
from importlib import import_module

import pytest
import torch
from detectron2.modeling import build_model
from helpers import ROOT
from helpers.golden import FOLDER
from sot.released_nets import centre_names

from effowt_d2.engine import make_config

PUBLISHED = {
    "AQATrack-ep150-full-256": ("aqatrack", "AQATrack", "aqatrack_256", 78_548_741),
    "AQATrack-ep150-full-384": ("aqatrack", "AQATrack", "aqatrack_384", 78_753_541),
    "EVPTrack-full-224": ("evptrack", "EVPTrack", "evptrack_224", 73_922_405),
    "EVPTrack-full-384": ("evptrack", "EVPTrack", "evptrack_384", 74_165_605),
}


# a model without values takes a second all the same
MARKS = {release: () if "256" in release else pytest.mark.slow for release in PUBLISHED}


@pytest.mark.parametrize("release", [pytest.param(name, marks=MARKS[name]) for name in PUBLISHED])
def test_names_shapes_and_counts_are_those_of_the_releases(release):
    package, project, name, count = PUBLISHED[release]
    file = FOLDER / package / "checkpoint_layout.json"
    if not file.is_file():
        pytest.skip(f"golden file {file} is absent")
    described = json.loads(file.read_text())["released_configs"][release]
    assert described["parameters"] == count
    own_name = import_module(f"{package}.released").own_name
    cfg = make_config(str(ROOT / f"projects/{project}/configs/{name}.yaml"), ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        model = build_model(cfg)
        state = {name: torch.empty(shape) for name, (shape, *_) in described["net"].items()}
    names, foreign = centre_names(state, model.backbone.tower, own_name)
    assert foreign == []
    assert {n: v.shape for n, v in names.items()} == {n: v.shape for n, v in model.state_dict().items()}
    # the release keeps vectors that reach no output
    idle = sum(v.numel() for n, v in state.items() if own_name(n) == "")
    assert sum(p.numel() for p in model.parameters()) == count - idle
    head = described["parameters_by_module"]["box_head"]
    assert sum(p.numel() for p in model.head.parameters()) == head
