"""Token reduction under every neck: training, checkpoints, padding."""

import pytest
import torch
from helpers.messages import raises
from helpers.padding import assert_alone_as_in_a_padded_batch
from helpers.tiny_backbone import tiny_backbone

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.checkpoint.contents import trained_state
from effowt_d2.modeling.transfer.ownership import owned_parameters
from effowt_d2.utils.tensor_files import CheckpointError

NECKS = ["zero_shot", "full", "side"]
GATE = "backbone.tower.companions.tokens.gate"


class Model(torch.nn.Module):
    """As much of a meta-architecture as optimizers and checkpoints look at."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone


@pytest.fixture
def build(tiny):
    def build(neck, reduction, *options, rate=0.6):
        keys = ["MODEL.TRANSFER.STRATEGY", neck, "MODEL.TOKENS.REDUCTION", reduction, "MODEL.TOKENS.KEEP_RATES", [rate]]
        return tiny_backbone(tiny, *keys, *options)

    return build


@pytest.mark.parametrize("reduction", ["sparse", "merge"])
@pytest.mark.parametrize("neck", NECKS)
def test_every_neck_trains_on_fewer_tokens(build, neck, reduction):
    backbone = build(neck, reduction)
    model, image = Model(backbone).train(), torch.randn(2, 3, 96, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(level.square().mean() for level in backbone(image).values()).backward()
        optimizer.step()
    trained = set(trained_state(model))
    after = model.state_dict()
    assert (GATE in trained) == (reduction == "sparse")
    assert any(name.startswith("backbone.tower.trunk.") for name in trained) == (neck == "full")
    for name in set(before) - trained:
        assert torch.equal(before[name], after[name]), name
    if reduction == "sparse":
        assert after[GATE].abs().min() > 0
        assert [
            p.part.name for p in owned_parameters(model) if p.parameter is backbone.tower.companions["tokens"].gate
        ] == ["tokens"]


@pytest.mark.parametrize("options", [(), ("MODEL.VLM.WINDOW", 4)], ids=["global", "windows"])
@pytest.mark.parametrize("reduction", ["sparse", "merge"])
@pytest.mark.parametrize("neck", ["zero_shot", "side"])
def test_an_image_is_the_same_alone_and_in_a_padded_batch(build, neck, reduction, options):
    assert_alone_as_in_a_padded_batch(build(neck, reduction, *options).eval())


@pytest.mark.parametrize("method", ["lora", "tmoe"])
def test_adapters_train_beside_fewer_tokens(build, method):
    backbone = build("zero_shot", "sparse", "MODEL.PEFT.METHOD", method, "MODEL.PEFT.RANK", 4).train()
    sum(level.square().mean() for level in backbone(torch.randn(1, 3, 64, 64)).values()).backward()
    attached = {name: p for name, p in backbone.tower.named_parameters() if p.requires_grad}
    assert "companions.tokens.gate" in attached and any(name.startswith("adapters.") for name in attached)
    assert all(p.grad is not None for p in attached.values())
    assert_alone_as_in_a_padded_batch(backbone.eval())


@pytest.mark.parametrize("neck", NECKS)
def test_a_rate_of_1_equals_no_reduction(build, neck):
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole, none = build(neck, "sparse", rate=1.0)(image), build(neck, "none")(image)
        fewer = build(neck, "sparse", rate=0.5)(image)
    assert all(torch.equal(whole[name], none[name]) for name in none)
    assert not any(torch.equal(fewer[name], none[name]) for name in ("p2", "p3", "p4"))


def test_a_checkpoint_of_all_tokens_serves_fewer(build, tmp_path):
    plain = Model(build("side", "none")).eval()
    with torch.no_grad():
        for parameter in plain.backbone.strategy.parameters():
            parameter += 0.1
    EffOWTCheckpointer(plain, str(tmp_path)).save("plain")
    file, image = str(tmp_path / "plain.pth"), torch.randn(1, 3, 64, 64)
    # without parameters of its own, a reduction loads it as it is
    merging = Model(build("side", "merge")).eval()
    EffOWTCheckpointer(merging, complete=True).load(file)
    gated = Model(build("side", "sparse")).eval()
    with raises(CheckpointError, GATE):
        EffOWTCheckpointer(gated, complete=True).load(file)
    EffOWTCheckpointer(gated, partial=True).load(file)
    for model in (merging, gated):
        expected, loaded = plain.state_dict(), model.state_dict()
        assert set(loaded) - set(expected) <= {GATE} and all(
            torch.equal(loaded[key], expected[key]) for key in expected
        )
        assert all(level.isfinite().all() for level in model.backbone(image).values())
    # and what has one is refused by a model without
    EffOWTCheckpointer(gated, str(tmp_path)).save("gated")
    with raises(CheckpointError, GATE):
        EffOWTCheckpointer(plain).load(str(tmp_path / "gated.pth"))
