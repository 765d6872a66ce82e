"""The tower with a convolutional stem: timm's features at stride 16, frozen, with masked padding."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from open_clip.timm_model import TimmModel
from timm.models import register_model

from effowt_d2 import add_effowt_config
from effowt_d2.assets.conv_stem_vit import conv_stem_vit, conv_stem_vit_s16
from effowt_d2.modeling.backbone import build_effowt_backbone
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.conv_stem import ConvStemViT

NAME = "RealCLIP-S-16"


@register_model
def conv_stem_vit_tiny_for_tests(pretrained=False, **kwargs):
    return conv_stem_vit(width=32, depth=3, heads=2, image_size=64, stem=4)


@pytest.fixture
def tower():
    torch.manual_seed(0)
    visual = TimmModel("conv_stem_vit_tiny_for_tests", 16, image_size=64, pool="avg", proj="linear")
    for module in visual.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # whose padding is not zero behind it
            torch.nn.init.uniform_(module.bias, 0.5, 1)
            torch.nn.init.uniform_(module.running_mean, -1, 1)
    assert ConvStemViT.accepts(visual)
    return ConvStemViT(visual, canvas=0, frozen=True, name="tiny", pixel_mean=(0, 0, 0), pixel_std=(1, 1, 1))


def test_taps_are_timms_blocks(tower):
    images = torch.randn(2, 3, 64, 64)
    taps = tower(images)
    with torch.no_grad():
        expected = tower.trunk.trunk.forward_intermediates(images, intermediates_only=True)
    assert len(taps) == tower.depth == 3 and tower.embed_dim == 32 and not taps[0].requires_grad
    for tap, map_ in zip(taps, expected):
        torch.testing.assert_close(tap, map_, atol=1e-5, rtol=1e-5)


def test_features_do_not_depend_on_padding_or_company(tower):
    tower.canvas = 8
    image = torch.randn(3, 40, 50)
    alone, together = torch.zeros(1, 3, 48, 64), torch.zeros(2, 3, 96, 128)
    alone[0, :, :40, :50] = together[0, :, :40, :50] = image
    together[1] = torch.randn(3, 96, 128)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, :3, :4] = mask[1] = True
    for a, b in zip(tower(alone), tower(together, mask)):
        torch.testing.assert_close(a[0], b[0, :, :3, :4], atol=1e-5, rtol=1e-5)


def test_batch_norms_keep_their_statistics_in_training(tower):
    tower.base.set_trained(True)
    tower.train()
    norms = [m for m in tower.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    before = [m.running_mean.clone() for m in norms]
    tower(torch.randn(2, 3, 64, 64))
    assert norms and all(torch.equal(a, m.running_mean) for a, m in zip(before, norms))


def test_block_weights_are_those_of_the_block(tower):
    weights, vectors, block = tower.block_weights(1), tower.block_vectors(1), tower.blocks[1]
    assert torch.equal(torch.cat([weights.q, weights.k, weights.v]), block.attn.qkv.weight)
    assert torch.equal(torch.cat([vectors.q, vectors.k, vectors.v]), block.attn.qkv.bias)
    assert weights.fc1 is block.mlp.fc1.weight and vectors.norm2 is block.norm2


@pytest.mark.parametrize("strategy", ["zero_shot", "full", "side"])
def test_every_strategy_steps_on_it(strategy):
    cfg = get_cfg()
    add_effowt_config(cfg)
    cfg.MODEL.VLM.NAME, cfg.MODEL.VLM.ALLOW_RANDOM, cfg.MODEL.TRANSFER.STRATEGY = NAME, True, strategy
    cfg.MODEL.SIDE.SIM.GROUPS, cfg.MODEL.TRANSFER.OUT_CHANNELS = 8, 16
    backbone = build_effowt_backbone(cfg, ShapeSpec(channels=3))
    sum(v.square().mean() for v in backbone(torch.randn(1, 3, 64, 64), [(50, 64)]).values()).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert any(p.requires_grad for p in backbone.tower.parameters()) == (strategy == "full")


def test_it_is_built_by_name_on_the_meta_device_too():
    with torch.device("meta"):
        tower = build_tower(NAME, "", allow_random=True)
    assert isinstance(tower, ConvStemViT) and tower.depth == 6 and next(tower.parameters()).is_meta


def test_timm_has_no_weights_of_it():
    with pytest.raises(ValueError, match="conv_stem_vit_s16"):
        conv_stem_vit_s16(pretrained=True)
