"""The ConvNeXt tower: timm's features at stride 16, frozen, blind to padding."""

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from open_clip.timm_model import TimmModel

from effowt_d2.modeling.tower.convnext import ConvNeXtTower


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
def test_every_strategy_steps_on_it(strategy):
    backbone = tiny_backbone("convnext_tiny", MODEL__TRANSFER__STRATEGY=strategy)
    sum(v.square().mean() for v in backbone(torch.randn(1, 3, 64, 64), [(50, 64)]).values()).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    assert any(p.requires_grad for p in backbone.tower.parameters()) == (strategy == "full")


def test_what_it_has_not_is_told(tower):
    with raises(ValueError, "ConvNeXt"):
        tower.block_weights(0)
    with raises(ValueError, "window"):
        ConvNeXtTower(tower.trunk, window=16, canvas=0, frozen=True, name="", pixel_mean=(), pixel_std=())
