"""EVPTrack against its release: every layer of a frame, prompts, what is carried, clips, losses, gradients, a video."""

import pytest
import torch
from evptrack.released import own_name
from helpers.golden import below, golden
from helpers.golden_centre import evptrack_model, normal
from helpers.golden_centre_runs import (
    MAPS,
    begin,
    check_head,
    check_maps,
    check_stem,
    check_tracking,
    check_training,
    check_trunk,
    clip_crops,
    close,
    taps,
)

from effowt_d2.engine import make_config

CONFIG = "projects/EVPTrack/configs/evptrack_224.yaml"


@pytest.fixture(scope="module")
def numbers():
    return golden("evptrack/forward")


@torch.no_grad()
def test_every_layer_of_four_frames(numbers):
    model = evptrack_model().eval()
    backbone, template = model.backbone, normal(numbers["template_u8"])[None]
    close(template, numbers["template_norm"])
    check_stem(model, template, "z", below(numbers, "t1/"))
    check_stem(model, normal(numbers["t1/search_u8"])[None], "x", below(numbers, "t1/"))
    with taps(model) as seen:
        carried = begin(model, template)
    for size, patch in zip((18, 16, 14), backbone.ms.patches):
        close(seen[patch], numbers[f"t1/prompt/conv{size}"])
    for t in range(1, 5):
        given = below(numbers, f"t{t}/")
        crops = normal(given["search_u8"])[None]
        prompts = backbone.st(carried.st_tokens)
        close(prompts, given["prompt/st"])
        if "prompt/ms" in given:
            close(carried.ms_prompts, given["prompt/ms"])
            close(backbone.st.pooled(carried.st_tokens), given["prompt/st_pooled"])
        if "ste/input" in given:
            tokens = [carried.z_tokens, backbone.search_tokens(crops), carried.st_tokens]
            close(torch.cat(tokens, dim=1), given["ste/input"])
        check_trunk(model, [carried.ms_prompts, prompts, carried.z_tokens], crops, given)
        with taps(model) as seen:
            features, carried = model.read(carried, crops)
        if "ste/normed" in given:
            close(seen[backbone.ste.norm], given["ste/normed"])
            close(seen[backbone.ste.blocks], given["ste/out"])
            close(features, given["head/input"])
        check_head(model, features, given)
        close(carried.st_tokens, given["state_after"])


def test_every_recorded_tensor_is_compared(numbers):
    kinds = ("search_u8", "state_after", "stem/", "main/", "ste/", "head/", "prompt/", *MAPS)
    names = {name.split("/", 1)[-1] for name in numbers} - {"template_u8", "template_norm"}
    assert [name for name in names if not name.startswith(kinds)] == []
    used = ("search_", "template_u8", "states", *MAPS)
    assert [name for name in golden("evptrack/clip") if not name.startswith(used)] == []
    used = ("losses", "search_anno", "target_heat", "grad/", "after_step1/", "train_mode/")
    assert [name for name in golden("evptrack/train") if not name.startswith(used)] == []


@torch.no_grad()
def test_clips():
    numbers, (templates, clip) = golden("evptrack/clip"), clip_crops("evptrack")
    model = evptrack_model().eval()
    output, carried = model.unroll(begin(model, templates), clip)
    check_maps(output, numbers)
    close(carried.st_tokens, numbers["states"][-1])
    carried = begin(model, templates)
    for crops, state in zip(clip, numbers["states"]):
        _, carried = model.read(carried, crops)
        close(carried.st_tokens, state)


def test_losses_gradients_and_steps():
    model = evptrack_model().train()
    check_training(model, "evptrack", make_config(CONFIG, ["MODEL.DEVICE", "cpu"]), own_name)


def test_a_video():
    model = evptrack_model().eval()
    for given, state in check_tracking(model, "evptrack"):
        close(state.memory.carried.st_tokens, given["state_after"])
