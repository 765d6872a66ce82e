"""The ConvNeXt tower: timm's features at stride 16, frozen, with masked padding."""

import numpy as np
import open_clip
import pytest
import torch
from effowt_ablations.convnext import ConvNeXtTower
from helpers.colour_clip import TEXT
from helpers.messages import raises
from helpers.tiny_clip import register_clips
from open_clip.timm_model import TimmModel
from safetensors.torch import save_file

from effowt_d2.modeling.tower import build_tower
from effowt_d2.naming.two_towers import load_two_towers


@pytest.fixture
def tower():
    torch.manual_seed(0)
    visual = TimmModel("convnext_atto", 16, image_size=64, pool="", proj="linear")
    for block in (b for stage in visual.trunk.stages for b in stage.blocks):
        torch.nn.init.ones_(block.gamma)
    return ConvNeXtTower(visual, canvas=0, frozen=True, name="atto", pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1))


def test_the_last_tap_is_the_stage_at_stride_16(tower):
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = tower.trunk.trunk.forward_intermediates(images, indices=[2], intermediates_only=True)[0]
    taps = tower(images)
    assert len(taps) == tower.depth == 6 and tower.embed_dim == 160 and not taps[0].requires_grad
    torch.testing.assert_close(taps[-1], expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(tower(images, taps=[2])[0], taps[2])


def test_features_do_not_depend_on_padding_or_company(tower):
    image = torch.randn(3, 40, 50)
    alone, together = torch.zeros(1, 3, 64, 64), torch.zeros(2, 3, 96, 128)
    alone[0, :, :40, :50] = together[0, :, :40, :50] = image
    together[1] = torch.randn(3, 96, 128)
    masks = [torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(2, 6, 8, dtype=torch.bool)]
    masks[0][0, :3, :4] = masks[1][0, :3, :4] = masks[1][1] = True
    for a, b in zip(tower(alone, masks[0]), tower(together, masks[1])):
        torch.testing.assert_close(a[0, :, :3, :4], b[0, :, :3, :4], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["zero_shot", "full", "side"])
def test_every_strategy_steps_on_it(build, strategy):
    backbone = build("TRANSFER.STRATEGY", strategy, name="convnext_tiny")
    sum(v.square().mean() for v in backbone(torch.randn(1, 3, 64, 64), [(50, 64)]).values()).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert any(p.requires_grad for p in backbone.tower.parameters()) == (strategy == "full")


def test_what_it_lacks_is_reported(tower):
    with raises(ValueError, "init", "scratch", "ConvNeXt"):
        tower.block_weights(0)
    with raises(ValueError, "window", 16):
        ConvNeXtTower(tower.trunk, window=16, canvas=0, frozen=True, name="", pixel_mean=(), pixel_std=())


def test_tokens_cannot_be_taken_out_of_it(build):
    with raises(ValueError, "MODEL.TOKENS.REDUCTION", "none", "convnext_tiny"):
        build("TOKENS.REDUCTION", "sparse", name="convnext_tiny")


def padded_batch():
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    mask[0, :, 4:] = False
    return torch.randn(2, 3, 64, 96, generator=generator), mask


def make(**settings):
    torch.manual_seed(0)
    return build_tower("convnext_tiny", "", allow_random=True, **settings).finalise()


# slow: bfloat16 and float16 convolutions have no fast kernel on every CPU
# of the largest value in a tap: bfloat16 has 8 bits of mantissa and float16 has 11, and errors add up over the blocks
@pytest.mark.slow
@pytest.mark.parametrize("precision,tolerance", [("bfloat16", 0.02), ("float16", 0.003)])
def test_taps_in_half_precision_are_near(precision, tolerance):
    expected, rounded = make(), make(precision=precision)
    for reference, tap in zip(expected(*padded_batch()), rounded(*padded_batch())):
        assert tap.dtype is torch.float32 and not torch.equal(tap, reference)
        assert (tap - reference).abs().max() < tolerance * reference.abs().max()
    assert rounded.weights_hash() == expected.weights_hash()


@pytest.mark.slow
def test_compiled_blocks_give_the_same_taps():
    torch._dynamo.reset()
    plain, compiled = make(), make(compile_backend="aot_eager")
    for reference, tap in zip(plain(*padded_batch()), compiled(*padded_batch())):
        torch.testing.assert_close(tap, reference, atol=1e-6, rtol=0)
    assert compiled.weights_hash() == plain.weights_hash()


def test_a_frozen_tower_serves_as_the_vision_half_of_its_model(tmp_path):
    conv = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    register_clips(tmp_path, {"tiny-conv": {"text_cfg": TEXT, "custom_text": True, "vision_cfg": conv}})
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-conv", load_weights=False).eval()
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    file = str(tmp_path / "clip.safetensors")
    tower = build_tower("tiny-conv", file, canvas=8)
    towers = load_two_towers("tiny-conv", file, device="cpu", tower=tower)
    assert towers._model.visual is tower.trunk
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(pictures).float() / 255 - torch.tensor(tower.pixel_mean)) / torch.tensor(tower.pixel_std)
    with torch.no_grad():
        expected = model.encode_image(pixels.permute(0, 3, 1, 2), normalize=True)
    torch.testing.assert_close(towers.embed_images(pictures), expected, atol=1e-5, rtol=1e-5)
