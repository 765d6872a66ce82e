"""ViTs of timm as towers: DINOv2 by name and file, its features, counts of the systems built on it, stochastic depth."""

import pytest
import torch
from helpers.messages import raises
from helpers.tiny_backbone import tiny_backbone
from helpers.tiny_timm import NAMES
from safetensors.torch import save_file
from torch import nn

from effowt_d2.modeling.layers.drop_path import add_branch, add_on_rows, kept_rows
from effowt_d2.modeling.peft import LoRAMethod, TMoEMethod
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.tower.timm_vit import TimmViT
from effowt_d2.naming.two_towers import load_two_towers

TINY = "timm://tiny_dinov2"


def build(name, **settings):
    torch.manual_seed(0)
    tower = build_tower(name, "", allow_random=True, **{"canvas": 0, **settings})
    with torch.no_grad():
        for parameter in tower.trunk.parameters():  # layer scales and tokens that count
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    return tower


@pytest.mark.parametrize("name, patch", NAMES.items())
def test_taps_are_timms_blocks_at_the_native_stride(name, patch):
    tower = build(name, stride=patch)
    side = tower.vit.patch_embed.img_size[0]
    images = torch.randn(2, 3, side, side)
    taps = tower(images)
    with torch.no_grad():
        expected = tower.vit.forward_intermediates(images, intermediates_only=True)
        last = tower.vit.forward_features(images)
        tokens, _ = tower.run(tower.embed(images))
    assert isinstance(tower, TimmViT) and tower.stride == tower.patch_size == patch
    for tap, reference in zip(taps, expected):
        torch.testing.assert_close(tap, reference, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tower.final_norm(tokens.x), last, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_features_do_not_depend_on_padding_or_company(name):
    tower = build(name, canvas=8, window=3)
    image = torch.randn(3, 40, 50)
    alone, together = torch.zeros(1, 3, 48, 64), torch.zeros(2, 3, 96, 128)
    alone[0, :, :40, :50] = together[0, :, :40, :50] = image
    together[1] = torch.randn(3, 96, 128)
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[0, :3, :4] = mask[1] = True
    for a, b in zip(tower(alone), tower(together, mask)):
        torch.testing.assert_close(a[0], b[0, :, :3, :4], atol=1e-4, rtol=1e-4)


def test_a_file_brings_its_own_grid_and_keys(tmp_path):
    source = build(TINY, stride=14)
    source.vit.set_input_size(img_size=(70, 70))
    state = {key: value.contiguous() for key, value in source.vit.state_dict().items()}
    save_file({**state, "mask_token": torch.zeros(1, 64)}, tmp_path / "dino.safetensors")
    tower = build_tower(TINY, str(tmp_path / "dino.safetensors"), canvas=0, stride=14)
    assert tower.vit.patch_embed.grid_size == (5, 5)
    images = torch.randn(1, 3, 70, 70)
    assert all(torch.equal(a, b) for a, b in zip(tower(images), source(images)))


def test_registers_and_gates_are_read_from_dinov2s_keys(tmp_path):
    for name, patch in list(NAMES.items())[1:]:
        source = build(name, stride=patch)
        state = {key: value.clone() for key, value in source.vit.state_dict().items()}
        state["mask_token"] = torch.zeros(1, source.embed_dim)
        if "reg_token" in state:
            # theirs: the class token apart from its position, which stands before the table
            position = torch.randn(1, 1, 64)
            state["register_tokens"] = state.pop("reg_token")
            state["cls_token"] = state["cls_token"] - position
            state["pos_embed"] = torch.cat([position, state["pos_embed"]], dim=1)
        state = {
            k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3") if "swiglu" in name else k: v
            for k, v in state.items()
        }
        torch.save(state, tmp_path / "dino.pth")
        tower = build_tower(name, str(tmp_path / "dino.pth"), canvas=0, stride=patch)
        side = tower.vit.patch_embed.img_size[0]
        images = torch.randn(1, 3, side, side)
        for a, b in zip(tower(images), source(images)):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# of the release: parameters of the model in training, of the updates, of head and types; grid of the position table
LORAT = {
    "base": (98_708_741, 99_072_005, 10_616_832, 2_366_213 + 2_304),
    "large": (335_744_005, 336_228_357, 28_311_552, 4_203_525 + 3_072),
    "giant": (1_215_001_093, 1_215_727_621, 70_778_880, 9_451_013 + 4_608),
}
SPMTRACK = {
    "base": (115_330_565, 26_873_856, 2_366_213 + 3_840),
    "large": (379_582_469, 71_663_616, 4_203_525 + 5_120),
    "giant": (1_339_511_813, 194_560_000, 9_451_013 + 7_680),
}


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def trunk_size(tower, grid):
    """Without class token, and with the table on a grid."""
    vit = tower.vit
    return size(vit) - vit.cls_token.numel() - vit.pos_embed.numel() + grid * grid * tower.embed_dim


@pytest.mark.parametrize("name", ["base", pytest.param("large", marks=pytest.mark.slow), "giant"])
def test_counts_of_lorat_and_spmtrack_on_the_meta_device(name):
    with torch.device("meta"):
        tower = build_tower(f"timm://vit_{name}_patch14_dinov2", "", stride=14)
        LoRAMethod(rank=64, alpha=64.0).apply(tower)
        updates = size(tower.adapters)
        # the other system's in their place
        tower.adapters, tower.attached = nn.ModuleDict(), {}
        TMoEMethod(rank=64, alpha=64.0, num_experts=4).apply(tower)
    small, large, expected, rest = LORAT[name]
    assert updates == expected
    assert trunk_size(tower, 16) + updates + rest == small and trunk_size(tower, 27) + updates + rest == large
    total, expected, rest = SPMTRACK[name]
    assert size(tower.adapters) == expected and trunk_size(tower, 27) + expected + rest == total
    assert all(p.is_meta for p in tower.parameters())


def test_a_detector_stands_on_it(tmp_path):
    backbone = tiny_backbone(TINY, "MODEL.TRANSFER.STRATEGY", "side", "MODEL.SIDE.TAPS", [0, 1, 1]).train()
    levels = backbone(torch.randn(1, 3, 64, 64), [(50, 64)])
    assert levels["p4"].shape == (1, 32, 4, 4)
    with raises(ValueError, "MODEL.VLM.STRIDE", 16, 14):
        tiny_backbone(TINY, "MODEL.VLM.STRIDE", 14, "MODEL.TRANSFER.STRATEGY", "zero_shot")


def test_what_cannot_be(tmp_path):
    with raises(ValueError, "timm://vit_base_patch14_dino", "vit_base_patch14_dinov2"):
        build_tower("timm://vit_base_patch14_dino", "")
    with raises(ValueError, "weights", TINY, "allow_random"):
        build_tower(TINY, "")
    with raises(ValueError, "weights", "openclip://openai", TINY):
        build_tower(TINY, "openclip://openai")
    with raises(ValueError, "name", "timm://resnet18", "TimmViT"):
        build_tower("timm://resnet18", "", allow_random=True)
    state = build(TINY).vit.state_dict()
    torch.save({k: v for k, v in state.items() if k != "blocks.1.ls1.gamma"}, tmp_path / "short.pth")
    with raises(ValueError, "short.pth", TINY, "blocks.1.ls1.gamma"):
        build_tower(TINY, str(tmp_path / "short.pth"))
    torch.save({**state, "patch_embed.proj.weight": torch.zeros(64, 3, 16, 16)}, tmp_path / "patches.pth")
    with raises(ValueError, "patches.pth", "patch_embed.proj.weight", "(64, 3, 16, 16)"):
        build_tower(TINY, str(tmp_path / "patches.pth"))
    torch.save({**state, "pos_embed": torch.zeros(1, 60, 64)}, tmp_path / "table.pth")
    with raises(ValueError, "table.pth", "pos_embed", 60):
        build_tower(TINY, str(tmp_path / "table.pth"))
    torch.save(state, tmp_path / "dino.pth")
    with raises(ValueError, "weights", "dino.pth", TINY):
        load_two_towers(TINY, str(tmp_path / "dino.pth"), device="cpu")


def test_stochastic_depth_leaves_out_branches_and_keeps_the_mean():
    torch.manual_seed(0)
    x, one = torch.zeros(20_000, 1), lambda part, rows: torch.ones_like(part)
    assert torch.equal(add_branch(x, one, 0.0), torch.ones_like(x))
    for rate in (0.1, 0.4):
        y = add_branch(x, one, rate)
        kept = (y > 0).float().mean()
        assert float(kept) == pytest.approx(1 - rate, abs=0.01) and float(y.mean()) == pytest.approx(1, abs=0.02)
    assert [len(kept_rows(batch, 0.4, x.device)) for batch in (1, 5, 8)] == [1, 3, 4]
    rows = torch.tensor([2, 0])
    y = add_on_rows(torch.zeros(3, 1), lambda part, at: (at + 1.0)[:, None], rows)
    assert y.flatten().tolist() == [1.5, 0, 4.5]


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_stochastic_depth_of_a_tower_acts_where_something_trains(rate):
    images = torch.randn(5, 3, 64, 64)
    tower, plain = build(TINY, canvas=8, drop_path=rate), build(TINY, canvas=8)
    assert torch.equal(tower.train()(images)[-1], plain(images)[-1])
    for t in (tower, plain):
        torch.manual_seed(1)
        LoRAMethod(rank=2, init="kaiming").apply(t)
    torch.manual_seed(3)
    dropped = [tower.train()(images)[-1] for _ in range(4)]
    assert not all(torch.allclose(taps, plain(images)[-1]) for taps in dropped)
    dropped[0].square().sum().backward()
    assert all(p.grad is not None for p in tower.adapters.parameters())
    assert torch.equal(tower.eval()(images)[-1], plain(images)[-1])


def test_the_config_reaches_the_tower():
    options = ("MODEL.VLM.DROP_PATH", 0.3, "MODEL.TRANSFER.STRATEGY", "zero_shot")
    assert tiny_backbone(TINY, *options).tower.drop_path == 0.3
