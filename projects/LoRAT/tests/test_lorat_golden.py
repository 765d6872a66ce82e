"""LoRAT against its release: tokens, heads, loss, every gradient, one step of AdamW, merged weights, tracking."""

import pytest
import torch
from helpers.configs import set_keys
from helpers.golden import below, golden, golden_manifest
from helpers.golden_trackers import lorat_model, parts, recorded_run
from helpers.tiny_timm import build_tower, load_updates
from lorat import LoRAT
from safetensors.torch import save_file
from sot.losses import SearchTargets
from sot.released import released_names
from sot.state import Reference

from effowt_d2.engine import build_optimizer, make_config
from effowt_d2.engine.step import clip_gradients
from effowt_d2.modeling.peft import LoRAMethod, export_plain, merge

TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}
# tests/modeling/test_golden_towers.py has the blocks; projects/SOT/tests/test_sot_head.py the head's own gradients
ELSEWHERE = ("train.block", "target.pos_", "target.num_pos", "target.soft_score", "grad.score_map", "grad.boxes")


def close(found, expected):
    torch.testing.assert_close(found, expected, **TOLERANCE)


@pytest.fixture(scope="module")
def numbers():
    return golden("lorat/model")


def respond(model, numbers):
    return model.respond(Reference(numbers["in.z"], numbers["in.mask"]), numbers["in.x"])


def backward(model, numbers):
    targets = SearchTargets(numbers["target.box_pixels"], (8, 8), (112, 112))
    losses = model.loss(respond(model, numbers), targets)
    sum(losses.values()).backward()
    return losses, targets


def test_every_recorded_tensor_is_compared(numbers):
    here = ("in.", "pos_embed", "train.z_", "train.x_", "train.norm", "train.head.", "train.score_map", "train.boxes")
    here += ("merged.", "target.box", "loss.", "grad.token", "grad.blocks", "grad.head", "grad.total", "step1.")
    assert [name for name in numbers if not name.startswith((*here, *ELSEWHERE))] == []


def test_tokens_and_outputs(numbers):
    model = lorat_model().eval()
    backbone = model.backbone
    template = backbone.template_tokens(numbers["in.z"], numbers["in.mask"])
    search = backbone.search_tokens(numbers["in.x"])
    close(backbone.embedding.positions.flatten(1).T[None], numbers["pos_embed"])
    close(template, numbers["train.z_tokens"])
    close(search, numbers["train.x_tokens"])
    before, tokens = backbone([template], search)
    close(torch.cat([before, tokens.flatten(1, 2)], dim=1), numbers["train.norm"])
    close(model.head.cls_mlp(tokens).flatten(1, 2), numbers["train.head.score_raw"])
    close(model.head.reg_mlp(tokens).flatten(1, 2), numbers["train.head.box_raw"])
    output = respond(model, numbers)
    close(output.scores, numbers["train.score_map"])
    close(output.boxes, numbers["train.boxes"])


def test_merged_weights_and_outputs(numbers):
    model = lorat_model().eval()
    plain = export_plain(model.backbone.tower)
    for name, expected in golden("lorat/merged").items():
        close(plain[name], expected)
    merge(model.backbone.tower)
    template = model.backbone.template_tokens(numbers["in.z"], numbers["in.mask"])
    _, tokens = model.backbone([template], model.backbone.search_tokens(numbers["in.x"]))
    close(model.head.cls_mlp(tokens).flatten(1, 2), numbers["merged.head.score_raw"])
    close(model.head.reg_mlp(tokens).flatten(1, 2), numbers["merged.head.box_raw"])
    output = respond(model, numbers)
    close(output.scores, numbers["merged.score_map"])
    close(output.boxes, numbers["merged.boxes"])


def test_loss_and_gradients(numbers):
    model = lorat_model().train()
    losses, targets = backward(model, numbers)
    close(targets.boxes, numbers["target.boxes"])
    close(losses["loss_score"][None], numbers["loss.bce"])
    close(losses["loss_box"][None], numbers["loss.giou"])
    close(sum(losses.values())[None], numbers["loss.total"])
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    recorded = {
        name: g for name, g in below(numbers, "grad.").items() if name not in ("total_norm", "score_map", "boxes")
    }
    expected = released_names(recorded)
    assert set(expected) <= set(trained)
    for name, gradient in expected.items():
        limit = 1e-6 * gradient.abs().max().item()
        torch.testing.assert_close(trained[name].grad, gradient, rtol=1e-3, atol=limit, msg=name)
    total = torch.stack([p.grad.square().sum() for p in trained.values()]).sum().sqrt()
    torch.testing.assert_close(total, numbers["grad.total_norm"], rtol=1e-5, atol=0)
    manifest = golden_manifest("lorat")["grad_norms"]
    norms = released_names({name: torch.tensor(norm) for name, norm in manifest.items()})
    assert set(norms) == set(trained)
    for name, norm in norms.items():
        torch.testing.assert_close(trained[name].grad.norm(), norm, rtol=1e-3, atol=1e-6, msg=name)


def test_decay_groups_and_one_step(numbers):
    model = lorat_model().train()
    cfg = set_keys(make_config("projects/LoRAT/configs/lorat_b224.yaml"), MODEL__DEVICE="cpu")
    optimizer = build_optimizer(cfg, model)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    manifest = golden_manifest("lorat")
    # the rule of the 2024 code, which made the released weights
    wanted = {**manifest["param_groups_weight_decay"], **manifest["param_groups_2024_tree_differences"]}
    wanted = released_names({name: torch.tensor(decay) for name, decay in wanted.items()})
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {name: decays[id(p)] for name, p in trained.items()} == {
        n: pytest.approx(v.item()) for n, v in wanted.items()
    }
    assert {group["lr"] for group in optimizer.param_groups} == {1e-4}
    backward(model, numbers)
    gradients = {name: p.grad.clone() for name, p in trained.items()}
    clip_gradients(optimizer, cfg.SOLVER.CLIP_GRADIENTS)
    optimizer.step()
    expected = released_names(below(numbers, "step1."))
    assert len(expected) > 25 and set(expected) <= set(trained)
    for name, value in expected.items():
        # a one-row weight, which the recording code does not decay
        decayed = 1e-5 * value.abs().max().item() if name == "head.cls_mlp.layers.2.weight" else 0
        large = gradients[name].abs() > 1e-6
        torch.testing.assert_close(trained[name][large], value[large], rtol=0, atol=2e-6 + decayed, msg=name)


def test_packed_mlps_and_the_other_scale(tmp_path):
    numbers = golden("lorat/variants")
    save_file(
        {name: value.contiguous() for name, value in below(numbers, "trunk.").items()}, tmp_path / "trunk.safetensors"
    )
    tower = build_tower("timm://tiny_dinov2_swiglu", str(tmp_path / "trunk.safetensors"), stride=8)
    LoRAMethod(rank=4, alpha=6.0, scale_rule="sqrt_rank").apply(tower)
    load_updates(tower, below(numbers, "trained."), "lora")
    model = LoRAT(**parts(tower, template_size=16, search_size=32, search_factor=4.0)).eval()
    names = released_names({n: v for n, v in below(numbers, "trained.").items()})
    missing = model.load_state_dict(names, strict=False)
    assert not missing.unexpected_keys
    output = respond(model, numbers)
    close(output.scores, numbers["out.score_map"])
    close(output.boxes, numbers["out.boxes"])


def test_two_videos_tracked_as_one_batch():
    model = lorat_model().eval()
    merge(model.backbone.tower)
    numbers = golden("lorat/tracking")
    for n, frames in enumerate(recorded_run(model, "lorat/tracking")):
        given = {name: numbers[f"video{n}.{name}"] for name in ("boxes", "confidence", "cell", "score_map")}
        first = frames[0]["state"].memory
        torch.testing.assert_close(given["boxes"][0], numbers[f"video{n}.init_box"])
        assert first.foreground[0].equal(numbers[f"video{n}.mask"].bool())
        close(torch.stack([first.crops.mean(), first.crops.std()]), numbers[f"video{n}.template_mean_std"])
        for t, frame in enumerate(frames):
            assert frame["cell"] == given["cell"][t]
            torch.testing.assert_close(frame["box"].double(), given["boxes"][t + 1], rtol=0, atol=1e-2)
            close(frame["confidence"].double(), given["confidence"][t + 1])
            close(frame["score_map"], given["score_map"][t])
            expected = numbers[f"video{n}.crop_params_adjusted"][t]
            torch.testing.assert_close(frame["map"].double(), expected, rtol=1e-6, atol=1e-4)
            close(frame["mean_std"], numbers[f"video{n}.search_mean_std"][t])


def test_remembered_boxes_are_those_of_the_release():
    numbers = golden("lorat/geometry")
    model = lorat_model(56, 112)
    model.search.size = 64
    width, height = numbers["provider.image_wh"].tolist()
    state = model.start(torch.zeros(3, height, width), numbers["provider.state"][:1])
    identity = torch.tensor([[1.0, 1], [0, 0]], dtype=torch.float64)
    for row, reported in enumerate(numbers["provider.reported"]):
        if row:
            state, _ = model._placed(state, torch.zeros(3, height, width), [identity], reported[None], torch.ones(1))
        torch.testing.assert_close(state.boxes[0], numbers["provider.state"][row])
        torch.testing.assert_close(model.search.maps(state.boxes[0]), numbers["provider.params"][row])
