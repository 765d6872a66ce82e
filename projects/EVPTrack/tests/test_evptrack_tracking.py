"""EVPTrack on a tiny tower: time, rows, videos, prompts and what is carried, gradients, frozen towers, options, bad input."""

import copy

import pytest
import torch
from detectron2.modeling import build_model
from evptrack.prompts import MultiScalePrompts, SpatioTemporalEncoder, SpatioTemporalPrompts
from helpers.centre_trackers import (
    begin,
    centre_config,
    centre_model,
    check_bad_frames,
    check_causal,
    check_frozen,
    check_gradients,
    check_one_call_or_many,
    check_rows,
    check_types,
    check_videos,
    gradient_of_the_first_frame,
    made_clip,
    made_samples,
    outputs,
)
from helpers.tiny_clip import register_clips, vit
from helpers.turning_camera import overlaps_of_a_dog
from sot.export_onnx import export_step


@pytest.fixture(scope="module")
def model():
    return centre_model("EVPTrack")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A plain ViT with class token known to open_clip."""
    register_clips(tmp_path_factory.mktemp("clips"), {"tiny-evp-vit": vit(layers=2, width=32, head_width=8)})
    return "tiny-evp-vit"


def test_the_shipped_tracker_keeps_a_dog_while_the_camera_turns():
    overlaps = overlaps_of_a_dog("projects/EVPTrack/configs/real/evptrack_real_s.yaml")
    # a box that stays has none in the end
    assert overlaps.min() > 0.4, overlaps


def test_time_rows_videos_and_bad_frames(model):
    check_one_call_or_many(model)
    check_causal(model)
    check_rows(model)
    check_videos(model)
    check_bad_frames(model)


@pytest.mark.parametrize("template, search, counts", [(112, 224, (12, 9, 49, 196)), (192, 384, (41, 36, 144, 576))])
def test_counts_of_the_published_sizes(template, search, counts):
    with torch.device("meta"):
        multi = MultiScalePrompts(channels=8, template_size=template)
        temporal = SpatioTemporalPrompts(channels=8, grid=template // 16)
        found = multi(torch.empty(1, 3, template, template)).shape[1]
        carried = temporal(torch.empty(1, counts[2], 8)).shape[1]
    assert (multi.count, temporal.count) == (found, carried) == counts[:2]
    assert ((template // 16) ** 2, (search // 16) ** 2) == counts[2:]


@torch.no_grad()
def test_counts_stay_and_what_is_carried_is_bounded(model):
    templates, clip = made_clip(1, frames=15)
    carried, norms = begin(model, templates), []
    assert carried.st_tokens.equal(carried.z_tokens) and carried.ms_prompts.shape == (1, 2, 32)
    for crops in clip:
        _, carried = model.read(carried, crops)
        norms.append(carried.st_tokens.norm().item())
        assert carried.st_tokens.shape == (1, 4, 32)
    assert max(norms) < 3 * norms[0]


@torch.no_grad()
def test_prompts_have_no_place_and_are_used(model):
    templates, clip = made_clip(1)
    carried, encoder = begin(model, templates), model.backbone
    search = encoder.search_tokens(clip[0])
    _, plain = encoder([carried.ms_prompts, encoder.st(carried.st_tokens), carried.z_tokens], search)
    turned = encoder([carried.ms_prompts.flip(1), encoder.st(carried.st_tokens), carried.z_tokens.flip(1)], search)[1]
    torch.testing.assert_close(turned, plain, rtol=1e-5, atol=1e-5)
    without = encoder([torch.zeros_like(carried.ms_prompts), encoder.st(carried.st_tokens), carried.z_tokens], search)[
        1
    ]
    assert not without.allclose(plain, atol=1e-4)
    # what a frame makes is first used in the next one
    features, after = model.read(carried, clip[0])
    torch.testing.assert_close(features, plain.permute(0, 3, 1, 2))
    assert not after.st_tokens.allclose(carried.st_tokens) and after.z_tokens.equal(carried.z_tokens)


@torch.no_grad()
def test_the_state_encoder_keeps_the_rows_of_the_template():
    torch.manual_seed(0)
    encoder = SpatioTemporalEncoder(channels=16, heads=4).eval()
    z, x, h = torch.randn(2, 4, 16), torch.randn(2, 9, 16), torch.randn(2, 4, 16)
    block = encoder.blocks[0]
    rows = encoder.norm(torch.cat([z, x, h], dim=1))
    q, k, v = block.attn.qkv(block.norm1(rows)).unflatten(-1, (3, 4, 4)).permute(2, 0, 3, 1, 4)
    mixed = (torch.softmax(q @ k.transpose(-1, -2) / 2, dim=-1) @ v).transpose(1, 2).flatten(2)
    rows = rows + block.attn.proj(mixed)
    slow = rows + block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(block.norm2(rows))))
    torch.testing.assert_close(encoder(z, x, h), slow[:, :4], rtol=0, atol=1e-5)
    for layer in (block.attn.proj, block.mlp.fc2):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.testing.assert_close(encoder(z, x, h), torch.nn.functional.layer_norm(z, (16,), eps=1e-6))


def test_gradients(model):
    check_gradients(copy.deepcopy(model))
    assert gradient_of_the_first_frame(model) > 0


def test_switches_take_parts_out_and_leave_the_rest():
    templates, clip = made_clip()
    whole = centre_model("EVPTrack")
    for key, parts in (("USE_MS", ("ms",)), ("USE_ST", ("st", "ste"))):
        other = centre_model("EVPTrack", **{f"MODEL__EVPTRACK__{key}": False})
        kept = {n: v for n, v in whole.state_dict().items() if n.split(".")[1] not in parts}
        other.load_state_dict(kept)
        scores, end = outputs(other, templates, clip)
        assert not scores.allclose(outputs(whole, templates, clip)[0], atol=1e-6)
        assert (
            end.st_tokens.equal(end.z_tokens) == (key == "USE_ST") and end.ms_prompts.shape[1] == (key == "USE_ST") * 2
        )


def test_a_cut_between_frames_changes_gradients_alone():
    whole, cut = centre_model("EVPTrack"), centre_model("EVPTrack", MODEL__EVPTRACK__ST_DETACH=True)
    templates, clip = made_clip()
    assert outputs(whole, templates, clip)[0].equal(outputs(cut, templates, clip)[0])
    assert gradient_of_the_first_frame(cut) == 0 < gradient_of_the_first_frame(whole)


@pytest.mark.parametrize("method", ["none", "lora"])
def test_on_a_frozen_plain_tower(plain, method):
    check_frozen("EVPTrack", method, plain)


def test_types_of_tokens_on_a_frozen_tower(plain):
    check_types("EVPTrack", plain)


def test_what_is_new_trains_at_either_rate():
    for name, factor in (("backbone", 0.1), ("head", 1.0)):
        made = centre_model("EVPTrack", SOLVER__NEW_IN_BACKBONE_LR=name, SOLVER__TOWER_LR_FACTOR=0.1)
        parts = {part.name: part for part in made.backbone.trained_parts()}
        assert parts["prompts"].lr_factor == factor and parts["tower"].lr_factor == 0.1


def losses(**options):
    model = centre_model("EVPTrack", **options).train()
    torch.manual_seed(1)
    return {name: loss.item() for name, loss in model(made_samples()).items()}


EFFECTS = {"PROMPT__PATCH_SIZES": [8, 8], "PROMPT__MS_POOL": 2, "PROMPT__ST_POOL": 1, "STE_DEPTH": 2}
BAD = {
    "PROMPT.PATCH_SIZES": [18, 16],
    "PROMPT.MS_POOL": 0,
    "PROMPT.ST_POOL": 3,
    "STE_DEPTH": 0,
}


def test_every_key_has_an_effect():
    node = centre_config("EVPTrack").MODEL.EVPTRACK
    # the others have tests of their own above
    assert set(node) == {"PROMPT", "USE_MS", "USE_ST", "STE_DEPTH", "ST_DETACH"}
    usual = losses()
    for key, value in EFFECTS.items():
        assert losses(**{f"MODEL__EVPTRACK__{key}": value}) != usual, key


@pytest.mark.parametrize("key, value", BAD.items())
def test_options_that_do_not_fit_name_their_key(key, value):
    cfg = centre_config("EVPTrack", **{f"MODEL__EVPTRACK__{key.replace('.', '__')}": value})
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert f"MODEL.EVPTRACK.{key}" in str(error.value) and str(value) in str(error.value)


def test_there_is_no_onnx_file_of_it(model, tmp_path):
    with pytest.raises(ValueError, match="EVPTrack.*LoRAT"):
        export_step(model, tmp_path / "step.onnx")
    assert not list(tmp_path.iterdir())


def test_a_clip_of_one_frame_and_an_unknown_rate_are_named():
    with pytest.raises(ValueError, match="INPUT.SOT.SEARCHES.*USE_ST"):
        build_model(centre_config("EVPTrack", INPUT__SOT__SEARCHES=1))
    build_model(centre_config("EVPTrack", INPUT__SOT__SEARCHES=1, MODEL__EVPTRACK__USE_ST=False))
    cfg = centre_config("EVPTrack")
    cfg.SOLVER.NEW_IN_BACKBONE_LR = "none"
    with pytest.raises(ValueError, match="SOLVER.NEW_IN_BACKBONE_LR.*none"):
        build_model(cfg)
