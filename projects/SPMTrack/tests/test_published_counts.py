"""Parameters of the published sizes of LoRAT and SPMTrack, on the meta device."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers import ROOT

from effowt_d2.engine import make_config

# parameters in training, those that train, and of these the updates, the head, and the vectors of types and state
LORAT = {
    "b224": (98_708_741, 12_985_349, 10_616_832, 2_366_213, 2_304),
    "b378": (99_072_005, 12_985_349, 10_616_832, 2_366_213, 2_304),
    "l224": (335_744_005, 32_518_149, 28_311_552, 4_203_525, 3_072),
    "l378": (336_228_357, 32_518_149, 28_311_552, 4_203_525, 3_072),
    "g224": (1_215_001_093, 80_234_501, 70_778_880, 9_451_013, 4_608),
    "g378": (1_215_727_621, 80_234_501, 70_778_880, 9_451_013, 4_608),
}
SPMTRACK = {
    "b378": (115_330_565, 29_243_909, 26_873_856, 2_366_213, 3_840),
    "l378": (379_582_469, 75_872_261, 71_663_616, 4_203_525, 5_120),
    "g378": (1_339_511_813, 204_018_693, 194_560_000, 9_451_013, 7_680),
}


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


FILES = {f"LoRAT/configs/lorat_{name}.yaml": numbers for name, numbers in LORAT.items()}
FILES |= {f"SPMTrack/configs/spmtrack_{name}.yaml": numbers for name, numbers in SPMTRACK.items()}
# a giant of 40 blocks takes seconds, even without its values
MARKS = {file: () if "_b224" in file else pytest.mark.slow for file in FILES}


@pytest.mark.parametrize("config, expected", [pytest.param(*item, marks=MARKS[item[0]]) for item in FILES.items()])
def test_counts_are_those_of_the_releases(config, expected):
    cfg = make_config(str(ROOT / "projects" / config), ["MODEL.DEVICE", "meta"])
    with torch.device("meta"):
        model = build_model(cfg)
    backbone = model.backbone
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # the releases keep the resized table, not the original one and the class token
    idle = [p for part in backbone.tower.embedding() if isinstance(part, torch.nn.ParameterList) for p in part]
    whole = count(model.parameters()) - count(idle) + backbone.embedding.positions.numel()
    updates, head = count(backbone.tower.adapters.parameters()), count(model.head.parameters())
    assert (whole, count(trained), updates, head, count(trained) - updates - head) == expected
