"""PEFT methods by config: what the presets stand for, what trains, reports, checkpoints of other methods, bad input."""

import pytest
import torch
from helpers.messages import assert_says, raises
from helpers.tiny_backbone import backbone_config, tiny_backbone
from torch import nn

from effowt_d2.analysis import count_parameters, count_saved_bytes, format_parameters
from effowt_d2.checkpoint import CheckpointError, EffOWTCheckpointer
from effowt_d2.engine import build_optimizer
from effowt_d2.modeling.peft import LoRA, LoRAMethod, TMoE, merge
from effowt_d2.modeling.tower import build_tower
from effowt_d2.modeling.transfer.strategy import transfer_of

LORA = ("MODEL.PEFT.METHOD", "lora", "MODEL.PEFT.RANK", 4)

METHODS = {
    "none": (),
    "lora": LORA,
    "rank 8": (*LORA, "MODEL.PEFT.RANK", 8),
    "scale 2": (*LORA, "MODEL.PEFT.ALPHA", 8.0),
    "sites": (*LORA, "MODEL.PEFT.SITES", ["q", "v"]),
    "tmoe": (*LORA, "MODEL.PEFT.METHOD", "tmoe", "MODEL.PEFT.TMOE.NUM_EXPERTS", 3),
    "experts": (*LORA, "MODEL.PEFT.METHOD", "tmoe", "MODEL.PEFT.TMOE.NUM_EXPERTS", 2),
}
MESSAGE_PARTS = {
    "lora": ["lora", "'rank': 4", "'scale': 16.0"],
    "rank 8": ["lora", "'rank': 8"],
    "scale 2": ["lora", "'scale': 2.0"],
    "sites": ["lora", ["['q', 'v']"]],
    "tmoe": ["tmoe", "'experts': 3"],
    "experts": ["tmoe", "'experts': 2"],
}


@pytest.mark.parametrize(
    "options, method, neck",
    [
        ((), "none", "side"),
        (("STRATEGY", "zero_shot"), "none", "pyramid"),
        (("STRATEGY", "full"), "full", "pyramid"),
        (("STRATEGY", "side", "NECK", "pyramid"), "none", "pyramid"),
        (("STRATEGY", "full", "NECK", "side"), "full", "side"),
        (("STRATEGY", "pyramid"), "none", "pyramid"),
    ],
)
def test_presets_stand_for_a_method_and_a_neck(tiny, options, method, neck):
    options = [f"MODEL.TRANSFER.{o}" if number % 2 == 0 else o for number, o in enumerate(options)]
    assert transfer_of(backbone_config(tiny, *options)) == (method, neck)
    # the method's own key has the last word
    assert transfer_of(backbone_config(tiny, *options, *LORA)) == ("lora", neck)


@pytest.mark.parametrize("neck", ["pyramid", "side"])
@pytest.mark.parametrize("method, adapter", [("none", None), ("full", None), ("lora", LoRA), ("tmoe", TMoE)])
def test_what_trains_is_the_methods_and_the_necks(tiny, method, adapter, neck):
    options = ("MODEL.PEFT.METHOD", method, "MODEL.TRANSFER.NECK", neck, "MODEL.PEFT.RANK", 4)
    backbone = tiny_backbone(tiny, *options).train()
    sum(v.square().mean() for v in backbone(torch.randn(1, 3, 64, 64), [(50, 64)]).values()).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
    adapters = [m for m in backbone.tower.modules() if isinstance(m, (LoRA, TMoE))]
    assert len(adapters) == (24 if adapter else 0) and {type(a) for a in adapters} == ({adapter} if adapter else set())
    assert backbone.tower.frozen == (method != "full")
    owned = {id(p) for part in backbone.trained_parts() for m in part.modules for p in m.parameters()}
    assert {id(p) for p in backbone.parameters() if p.requires_grad} <= owned


def test_sites_and_options_of_the_config_reach_the_adapters(tiny):
    options = ("SITES", ["v", "q", "gate"], "ALPHA", 6.0, "SCALE_RULE", "sqrt_rank", "DROPOUT", 0.25, "INIT", "kaiming")
    options = [f"MODEL.PEFT.{o}" if number % 2 == 0 else o for number, o in enumerate(options)]
    tower = tiny_backbone(tiny, *LORA, *options).tower
    assert [list(adapters) for adapters in tower.adapters.values()] == [["q", "v"]] * 4
    adapter = tower.adapters["2"]["v"]
    assert adapter.scale == 3 and adapter.dropout.p == 0.25 and not adapter.B.any() and adapter.A.shape == (4, 64)
    assert tower.attached == {"peft": {"method": "lora", "rank": 4, "scale": 3.0, "sites": ["q", "v"]}}


def test_mixtures_of_the_config_reach_the_adapters(tiny):
    mixture = ("MODEL.PEFT.METHOD", "tmoe", "MODEL.PEFT.TMOE.NUM_EXPERTS", 3)
    adapter = tiny_backbone(tiny, *LORA, *mixture).tower.adapters["0"]["fc1"]
    assert adapter.A.shape == (4, 64) and adapter.B.shape == (256, 12) and adapter.router.weight.shape == (3, 64)
    routed = tiny_backbone(tiny, *LORA, *mixture, "MODEL.PEFT.TMOE.ROUTE_COMPRESSION", True).tower
    assert routed.adapters["0"]["fc1"].A.shape == (12, 64)
    ungated = tiny_backbone(tiny, *LORA, *mixture, "MODEL.PEFT.TMOE.UNGATED_EXPERT", True).tower
    assert ungated.adapters["0"]["fc1"].ungated.shape == (256, 4)


class Model(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2, 2)


def test_memory_of_the_graph_is_reported_by_part(tiny):
    saved = {}
    for method in ("none", "lora"):
        model = Model(tiny_backbone(tiny, *METHODS[method])).train()
        model.forward = lambda batch, model=model: {"loss": model.backbone(batch)["p4"].square().mean()}
        saved[method] = count_saved_bytes(model, torch.randn(1, 3, 64, 64))
    # no graph in a frozen tower
    assert "tower" not in saved["none"] and saved["lora"]["tower"] > 0 and saved["lora"]["peft"] > 0


def test_groups_and_reports_name_the_part(tiny):
    cfg = backbone_config(tiny, *LORA, "SOLVER.PEFT_LR_FACTOR", 5.0, "SOLVER.BASE_LR", 0.1)
    model = Model(tiny_backbone(tiny, *LORA, "SOLVER.PEFT_LR_FACTOR", 5.0))
    groups = build_optimizer(cfg, model).param_groups
    of_peft = [group for group in groups if group["part"] == "peft"]
    assert {group["lr"] for group in of_peft} == {0.5} and {g["lr"] for g in groups if g not in of_peft} == {0.1}
    in_groups = {id(p) for group in of_peft for p in group["params"]}
    assert in_groups == {id(p) for p in model.backbone.tower.adapters.parameters()}
    size = sum(p.numel() for p in model.backbone.tower.adapters.parameters())
    counts = count_parameters(model)
    # q, k, v, proj of 64 x 64, and the MLP to 256 and back
    assert size == counts["peft"].trained == 4 * 4 * (4 * 128 + 2 * 320) and counts["peft"].frozen == 0
    assert counts["tower"].trained == 0 and counts["tower"].frozen == sum(
        p.numel() for p in model.backbone.tower.trunk.parameters()
    )
    assert_says(format_parameters(counts), f"peft {size:,}")


PAIRS = [("none", "lora"), ("lora", "none"), ("lora", "rank 8"), ("scale 2", "lora"), ("lora", "sites")]
PAIRS += [("lora", "tmoe"), ("tmoe", "experts")]


@pytest.mark.parametrize("stored, present", PAIRS)
def test_a_checkpoint_of_another_method_is_one_error(tiny, tmp_path, stored, present):
    EffOWTCheckpointer(tiny_backbone(tiny, *METHODS[stored]), str(tmp_path)).save("model")
    other = tiny_backbone(tiny, *METHODS[present])
    before = {key: value.clone() for key, value in other.state_dict().items()}
    with raises(
        CheckpointError, "model.pth", "MODEL.PEFT", *MESSAGE_PARTS.get(stored, []), *MESSAGE_PARTS.get(present, [])
    ):
        EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize("method", ["lora", "tmoe"])
def test_a_checkpoint_holds_the_updates_and_names_them(tiny, tmp_path, method):
    model = tiny_backbone(tiny, *METHODS[method])
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    data = torch.load(tmp_path / "model.pth", weights_only=True)
    assert {key for key in data["model"] if key.startswith("tower.")} == {
        f"tower.adapters.{key}" for key in model.tower.adapters.state_dict()
    }
    header = data["effowt"]["towers"]["tower"]
    assert header["peft"] == model.tower.attached["peft"] and header["peft"]["method"] == method
    other = tiny_backbone(tiny, *METHODS[method])
    nn.init.normal_(other.tower.adapters["0"]["q"].A)
    EffOWTCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(other.tower.adapters["0"]["q"].A, model.tower.adapters["0"]["q"].A)


def test_a_merged_tower_does_not_take_a_checkpoint(tiny, tmp_path):
    model = tiny_backbone(tiny, *LORA).eval()
    EffOWTCheckpointer(model, str(tmp_path)).save("model")
    merge(model.tower)
    with raises(RuntimeError, tiny, "unmerge"):
        EffOWTCheckpointer(model).load(str(tmp_path / "model.pth"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_updates_train_beside_rounded_weights(tiny, precision):
    backbone = tiny_backbone(tiny, *LORA, "MODEL.VLM.PRECISION", precision).train()
    sum(v.square().mean() for v in backbone(torch.randn(1, 3, 64, 64), [(50, 64)]).values()).backward()
    adapters = list(backbone.tower.adapters.parameters())
    assert all(p.dtype is torch.float32 and p.grad.dtype is torch.float32 and p.grad.any() for p in adapters)
    assert {p.dtype for p in backbone.tower.trunk.parameters()} == {getattr(torch, precision)}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "tmoe", "dense_adapter"])
def test_compiled_blocks_train_alike(tiny, method):
    torch._dynamo.reset()
    gradients = []
    for backend in ("", "aot_eager"):
        options = ("MODEL.PEFT.METHOD", method, "MODEL.PEFT.RANK", 4, "MODEL.VLM.COMPILE", backend)
        tower = tiny_backbone(tiny, *options).train().tower
        for parameter in tower.companions.parameters():  # that start at zero
            nn.init.constant_(parameter, 0.01)
        tower(torch.ones(2, 3, 64, 96))[-1].square().sum().backward()
        gradients.append([p.grad for p in tower.parameters() if p.requires_grad])
    for plain, compiled in zip(*gradients):
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_methods_that_cannot_be(tiny):
    with raises(ValueError, "MODEL.PEFT.METHOD", "lorra", ["full", "lora", "none", "tmoe"]):
        tiny_backbone(tiny, "MODEL.PEFT.METHOD", "lorra")
    with raises(ValueError, "MODEL.PEFT.RANK", 65, 64):
        tiny_backbone(tiny, *LORA, "MODEL.PEFT.RANK", 65)
    with raises(ValueError, "MODEL.PEFT.SITES", "gate", tiny, ["q", "proj", "fc2"]):
        tiny_backbone(tiny, *LORA, "MODEL.PEFT.SITES", ["gate"])
    with raises(ValueError, "MODEL.PEFT.SITES", "qkv", ["q", "gate"]):
        tiny_backbone(tiny, *LORA, "MODEL.PEFT.SITES", ["qkv"])
    with raises(ValueError, "MODEL.PEFT.TMOE.NUM_EXPERTS", 0):
        tiny_backbone(tiny, *METHODS["tmoe"], "MODEL.PEFT.TMOE.NUM_EXPERTS", 0)
    with raises(ValueError, "MODEL.TRANSFER.NECK", "fpn", ["pyramid", "side"]):
        tiny_backbone(tiny, "MODEL.TRANSFER.NECK", "fpn")
    with raises(ValueError, "MODEL.TRANSFER.STRATEGY", "half", ["full", "side", "zero_shot"]):
        tiny_backbone(tiny, "MODEL.TRANSFER.STRATEGY", "half")
    tower = build_tower(tiny, "", allow_random=True)
    LoRAMethod(rank=2).apply(tower)
    with raises(ValueError, tiny, "lora"):
        LoRAMethod(rank=2).apply(tower)
