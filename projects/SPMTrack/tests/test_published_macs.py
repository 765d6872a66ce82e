"""Multiply-adds of a tracked frame of the published sizes of LoRAT and SPMTrack, on the meta device."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers import ROOT
from sot.state import Reference
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from effowt_d2.engine import make_config

# in G, as published (LoRAT rounds to whole ones) and calculated from the papers' sizes
LORAT = {"b224": 29.8, "b378": 96.5, "l224": 102.9, "l378": 325.0, "g224": 377.7, "g378": 1160.4}
SPMTRACK = {"b378": (146.3, 181.7), "l378": (487.3, 581.7), "g378": (1714.1, 1970.5)}
# a giant of 40 blocks takes seconds, even without its values
CASES = [pytest.param(size, marks=() if size == "b224" else pytest.mark.slow) for size in LORAT]
# without values too, but said to be on the CPU: there is no autocast for the meta device
FAKE = FakeTensorMode(allow_non_fake_inputs=True)


def meta_model(config, method):
    cfg = make_config(str(ROOT / "projects" / config), ["MODEL.DEVICE", "meta", "MODEL.PEFT.METHOD", method])
    with torch.device("meta"):
        model = build_model(cfg).eval()
    with FAKE:
        return model.to_empty(device="cpu")


@torch.no_grad()
def multiply_adds(model, references=None):
    """Of the response to one search crop."""
    backbone = model.backbone
    with FAKE:
        template = Reference(
            torch.empty(1, 3, *[backbone.template_size] * 2), torch.empty(1, *backbone.template_grid).bool()
        )
        crops = torch.empty(1, 3, *[model.search.size] * 2)
        given = (template, crops) if references is None else ([template] * references, crops, model.first_state(1))
        # not all devices' fused attention is known to the counter
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.respond(*given)
    return counter.get_total_flops() // 2


def formula(tower, tokens, cells, patches):
    """Multiply-adds of patches, blocks on all tokens, and the head on the search cells; in whole numbers."""
    width, block = tower.embed_dim, tower.vit.blocks[0]
    linear = sum(m.weight.numel() for m in block.modules() if isinstance(m, torch.nn.Linear))
    head = 4 * width**2 + 5 * width
    patch = 3 * tower.patch_size**2 * width
    return tower.depth * (linear * tokens + 2 * tokens**2 * width) + head * cells + patch * patches


@pytest.mark.parametrize("size", CASES)
def test_those_of_merged_lorat(size):
    model = meta_model(f"LoRAT/configs/lorat_{size}.yaml", "none")
    counted = multiply_adds(model)
    cells, before = (rows * columns for rows, columns in (model.backbone.search_grid, model.backbone.template_grid))
    assert counted == formula(model.backbone.tower, cells + before, cells, cells + before)
    assert round(counted / 1e9, 1) == LORAT[size]


@pytest.mark.parametrize("size", [case for case in CASES if case.values[0] in SPMTRACK])
def test_those_of_spmtrack(size):
    plain, mixed = (meta_model(f"SPMTrack/configs/spmtrack_{size}.yaml", method) for method in ("none", "tmoe"))
    cells, before = (rows * columns for rows, columns in (plain.backbone.search_grid, plain.backbone.template_grid))
    tokens = 1 + 3 * before + cells
    counted = [multiply_adds(model, references=3) for model in (plain, mixed)]
    # the response map is a product of each cell with the state
    response = cells * plain.backbone.tower.embed_dim
    assert counted[0] - response == formula(plain.backbone.tower, tokens, cells, 3 * before + cells)
    updates = sum(p.numel() for p in mixed.backbone.tower.adapters.parameters())
    assert counted[1] - counted[0] == updates * tokens
    assert [round(number / 1e9, 1) for number in counted] == list(SPMTRACK[size])
