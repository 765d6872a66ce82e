"""HiViT: the public file in both nestings, the names of its tensors, and what a tower must do."""

import json
import logging

import pytest
import torch
from helpers.golden import FOLDER, golden
from helpers.golden_centre import golden_hivit
from sot.hivit import HiViT

from effowt_d2.modeling.peft import LoRAMethod
from effowt_d2.modeling.tower import build_tower
from effowt_d2.utils.tensor_files import CheckpointError


def layout(system):
    file = FOLDER / system / "checkpoint_layout.json"
    if not file.is_file():
        pytest.skip(f"golden file {file} is absent")
    return json.loads(file.read_text())


def public_file():
    """The trunk of the recorded tracker as the pretraining writes it, and parts of the pretraining's own."""
    weights = {name[len("backbone.") :]: v for name, v in golden("aqatrack/weights").items() if name[:9] == "backbone."}
    left_out = ("pos_embed_z", "pos_embed_x", "norm_.weight", "norm_.bias")
    own = {
        "norm.weight": torch.ones(7 * 32),
        "mask_token": torch.zeros(1, 1, 16),
        "decoder_blocks.0.norm1.bias": torch.zeros(16),
    }
    return {**{name: value for name, value in weights.items() if name not in left_out}, **own}


@pytest.mark.parametrize("nesting", [None, "model"])
def test_the_public_file_fills_the_tower_in_both_nestings(tmp_path, caplog, nesting):
    state = public_file()
    torch.save({nesting: state, "epoch": 1600} if nesting else state, tmp_path / "mae.pth")
    with caplog.at_level(logging.INFO):
        tower = build_tower("timm://golden_hivit", str(tmp_path / "mae.pth"))
    assert f"{len(state) - 3} tensors for the tower" in caplog.text
    assert "decoder_blocks" in caplog.text and "final norm" in caplog.text
    vit = tower.vit
    assert vit.pos_embed.equal(state["absolute_pos_embed"])
    assert vit.blocks[1].mlp.fc2.weight.equal(state["blocks.7.mlp.fc2.weight"])
    assert vit.patch_embed.proj.blocks[5].reduction.weight.equal(state["blocks.5.reduction.weight"])
    assert vit.norm.weight.eq(1).all() and vit.norm.weight.shape == (32,)


def test_a_file_of_another_size_is_refused(tmp_path):
    torch.save(public_file(), tmp_path / "mae.pth")
    with pytest.raises(CheckpointError, match="hivit_tiny") as error:
        build_tower("timm://hivit_tiny", str(tmp_path / "mae.pth"))
    assert "patch_embed.proj.conv.weight" in str(error.value)
    state = public_file()
    del state["blocks.6.attn.qkv.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(CheckpointError, match="missing: blocks.0.attn.qkv.weight"):
        build_tower("timm://golden_hivit", str(tmp_path / "short.pth"))


def test_names_of_the_public_file_are_those_of_the_base_size():
    described = layout("aqatrack")["hivit_pretraining_file"]["loaded_into_the_backbone"]
    with torch.device("meta"):
        vit = HiViT()
        found, notes = vit.own_names({name: torch.empty(shape) for name, shape in described.items()})
    assert len(notes) == 1
    assert {name: v.shape for name, v in found.items()} == {name: v.shape for name, v in vit.state_dict().items()}


@torch.no_grad()
def test_nothing_is_exchanged_between_patches_before_the_blocks():
    vit = golden_hivit().eval()
    images = torch.randn(1, 3, 64, 48)
    changed = images.clone()
    changed[:, :, 16:32, 32:48] += 1
    difference = (vit.patch_embed.proj(images) - vit.patch_embed.proj(changed)).abs().sum(dim=1)[0]
    assert difference[1, 2] > 0 and difference.count_nonzero() == 1


def test_stochastic_depth_rises_over_the_stem_and_the_blocks():
    tower = build_tower("timm://golden_hivit", "", allow_random=True, frozen=False, drop_path=0.5).train()
    stem = [block.rate for block in tower.vit.patch_embed.proj.blocks if hasattr(block, "rate")]
    assert [*stem, tower.drop_rate(0), tower.drop_rate(1)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    images = torch.randn(8, 3, 64, 64)
    assert not torch.equal(tower(images, taps=[1])[0], tower(images, taps=[1])[0])
    tower.eval()
    assert tower.drop_rate(1) == 0 and torch.equal(tower(images, taps=[1])[0], tower(images, taps=[1])[0])


def test_updates_train_in_a_frozen_one():
    tower = build_tower("timm://golden_hivit", "", allow_random=True)
    LoRAMethod(rank=2, alpha=2.0).apply(tower)
    tower.train()(torch.randn(1, 3, 64, 64), taps=[1])[0].sum().backward()
    assert all(p.grad is not None for p in tower.adapters.parameters())
    assert all(p.grad is None for p in tower.trunk.parameters())
