"""What AQATrack and EVPTrack must both do, on a tiny tower: checks that take a model."""

from functools import lru_cache

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from . import golden_centre  # noqa: F401  (it makes the tower known)
from .configs import set_keys
from .tiny_trackers import tracker_config

OPTIONS = {
    "MODEL__PEFT__METHOD": "full",
    "MODEL__CENTRE_HEAD__WIDTH": 16,
    "INPUT__SOT__CROP": "square",
    "INPUT__SOT__SAMPLER": "later",
    "INPUT__SOT__REFERENCES": 1,
    "INPUT__SOT__SEARCHES": 4,
}


def centre_config(project: str, tower: str = "timm://golden_hivit", **options) -> CfgNode:
    """A config of AQATrack or EVPTrack; options as :func:`tracker_config`."""
    return set_keys(_usual(project, tower).clone(), **options)


@lru_cache
def _usual(project: str, tower: str) -> CfgNode:
    own = {"AQATrack": {"MODEL__AQATRACK__NUM_HEADS": 4, "MODEL__AQATRACK__DEC_LAYERS": 2}}
    own["EVPTrack"] = {"MODEL__CENTRE_HEAD__TOWERS": 2, "MODEL__EVPTRACK__PROMPT__PATCH_SIZES": [10, 8]}
    return tracker_config(project.lower(), project, tower, **{**OPTIONS, **own[project]})


def centre_model(project: str, tower: str = "timm://golden_hivit", seed: int = 0, **options) -> nn.Module:
    """A model of random weights, with norms whose statistics are not those of the start."""
    torch.manual_seed(seed)
    model = build_model(centre_config(project, tower, **options))
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            # as they start, tokens hardly look at each other
            if parameter.ndim == 2:
                parameter.mul_(4)
        for module in model.head.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def made_clip(batch: int = 2, frames: int = 5, seed: int = 0) -> tuple[Tensor, list[Tensor]]:
    """Normalised templates (B, 3, 32, 32) and search crops (B, 3, 64, 64)."""
    generator = torch.Generator().manual_seed(seed)
    clip = [torch.randn(batch, 3, 64, 64, generator=generator) for _ in range(frames)]
    return torch.randn(batch, 3, 32, 32, generator=generator), clip


def begin(model: nn.Module, templates: Tensor):
    """What is carried into the first frame."""
    from sot.state import Reference

    return model.begin(Reference(templates, templates.new_zeros(len(templates), 1, 1)))


@torch.no_grad()
def outputs(model: nn.Module, templates: Tensor, clip: list[Tensor], parts: tuple[int, ...] = ()):
    """Scores (T, B, H, W) of a clip read in parts of so many frames, and what is carried on."""
    carried, scores = begin(model, templates), []
    for count in parts or (len(clip),):
        maps, carried = model.unroll(carried, clip[:count])
        scores.append(maps.scores.unflatten(0, (count, -1)))
        clip = clip[count:]
    return torch.cat(scores), carried


def check_one_call_or_many(model: nn.Module) -> None:
    """A clip gives the same at once, frame by frame and in parts."""
    templates, clip = made_clip()
    whole, end = outputs(model, templates, clip)
    for parts in ((1,) * 5, (1, 3, 1)):
        other, state = outputs(model, templates, clip, parts)
        torch.testing.assert_close(other, whole, rtol=0, atol=1e-5)
        for one, two in zip(state, end):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def check_causal(model: nn.Module) -> None:
    """Later frames change nothing; the frame before does."""
    templates, clip = made_clip()
    whole, _ = outputs(model, templates, clip)
    assert outputs(model, templates, clip[:3])[0].equal(whole[:3])
    changed, _ = outputs(model, templates, [*clip[:3], clip[3] + 1, *clip[4:]])
    assert changed[:3].equal(whole[:3]) and not changed[4].equal(whole[4])


def check_rows(model: nn.Module) -> None:
    """A target does not see the others of its batch, and stays in its row."""
    templates, clip = made_clip(3)
    whole, _ = outputs(model, templates, clip)
    order = torch.tensor([2, 0, 1])
    turned, _ = outputs(model, templates[order], [crops[order] for crops in clip])
    torch.testing.assert_close(turned, whole[:, order], rtol=0, atol=1e-5)
    alone, _ = outputs(model, templates[:1], [crops[:1] for crops in clip])
    torch.testing.assert_close(alone, whole[:, :1], rtol=0, atol=1e-5)


def frames(seed: int, count: int = 5, size: tuple[int, int] = (96, 128)) -> Tensor:
    """(N, 3, H, W) uint8."""
    return torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def follow(model: nn.Module, video: Tensor, boxes: Tensor):
    """Boxes and scores (N, T, 5) of the frames behind the first, and the state at the end."""
    state, found = model.start(video[0], boxes), []
    for frame in video[1:]:
        state, tracks = model.step(state, frame)
        found.append(torch.cat([state.boxes, tracks.scores[:, None]], dim=1))
    return torch.stack(found), state


def check_videos(model: nn.Module) -> None:
    """Videos on one model, one after another, interleaved and as one batch, give what each gives alone."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = torch.tensor([[10.0, 10, 50, 40], [60, 20, 100, 80]])
    (first, end), (second, _) = follow(model, frames(0), given), follow(model, frames(1), given[:1])
    assert follow(model, frames(0), given)[0].equal(first)
    states = [model.start(frames(0)[0], given), model.start(frames(1)[0], given[:1])]
    for index in range(1, 5):
        results = model.step_all(states, [frames(0)[index], frames(1)[index]])
        states = [state for state, _ in results]
    torch.testing.assert_close(states[0].boxes, first[-1, :, :4], rtol=0, atol=1e-2)
    torch.testing.assert_close(states[1].boxes, second[-1, :, :4], rtol=0, atol=1e-2)
    for one, two in zip(states[0].memory.carried, end.memory.carried):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert first.isfinite().all() and (first[..., 2:4] - first[..., :2] >= 10 - 1e-9).all()


def check_bad_frames(model: nn.Module) -> None:
    """Frames of another size, no targets, and outputs that are not finite; the last are counted and change nothing."""
    box = torch.tensor([[10.0, 10, 50, 40], [60, 20, 100, 80]])
    state = model.start(frames(0)[0], box)
    state, _ = model.step(state, frames(1, size=(60, 61))[0])
    assert state.boxes.isfinite().all() and state.boxes[:, 2].max() <= 61
    none, tracks = model.step(model.start(frames(0)[0], torch.zeros(0, 4)), frames(0)[1])
    assert len(tracks) == 0 == len(none)
    handle = model.head.towers["score"].register_forward_hook(
        lambda _, __, out: out * torch.tensor([1.0, torch.nan]).view(2, 1, 1, 1)
    )
    after, tracks = model.step(state, frames(0)[2])
    handle.remove()
    assert after.memory.skipped.tolist() == [0, 1] and state.memory.skipped.tolist() == [0, 0]
    assert after.boxes[1].equal(state.boxes[1]) and tracks.scores[1] == 0 and tracks.scores[0] > 0
    moved = [not new[0].equal(old[0]) for new, old in zip(after.memory.carried, state.memory.carried)]
    kept = [new[1].equal(old[1]) for new, old in zip(after.memory.carried, state.memory.carried)]
    assert any(moved) and all(kept)


def made_samples(batch: int = 2, searches: int = 4) -> list[dict]:
    """Training samples."""
    generator = torch.Generator().manual_seed(3)
    boxes = torch.tensor([[[20.0, 16, 44, 40]], [[-10, -10, 76, 76]]], dtype=torch.float64)
    return [
        {
            "templates": torch.rand(1, 3, 32, 32, generator=generator),
            "searches": torch.rand(searches, 3, 64, 64, generator=generator),
            "template_boxes": boxes[0] / 2,
            "search_boxes": boxes[number % 2].expand(searches, 4),
        }
        for number in range(batch)
    ]


def check_gradients(model: nn.Module, without: tuple[str, ...] = ()) -> None:
    """Everything that trains gets a gradient but key biases, which a softmax cancels, and what is named; nothing else does."""
    model.train()
    sum(model(made_samples()).values()).backward()
    for name, parameter in model.named_parameters():
        got = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        # biases before a batch norm get rounding errors
        if name not in without and not name.endswith(".0.bias"):
            assert got == parameter.requires_grad, name


def gradient_of_the_first_frame(model: nn.Module) -> float:
    """How much the scores of the last frame depend on the first frame's pixels."""
    templates, clip = made_clip(frames=3)
    first = clip[0].clone().requires_grad_()
    maps, _ = model.unroll(begin(model, templates), [first, *clip[1:]])
    (gradient,) = torch.autograd.grad(maps.scores[-2:].sum(), first)
    return gradient.abs().sum().item()


def check_frozen(project: str, method: str, tower: str, **options) -> None:
    """On a frozen plain ViT: its weights stay, what is new changes, through a step of the optimizer."""
    from effowt_d2.engine import build_optimizer

    model = centre_model(project, tower, MODEL__PEFT__METHOD=method, **options).train()
    cfg = centre_config(project, tower, MODEL__PEFT__METHOD=method, **options)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(cfg, model)
    for _ in range(2):
        optimizer.zero_grad()
        sum(model(made_samples()).values()).backward()
        optimizer.step()
    base = {f"backbone.tower.trunk.{name}" for name, _ in model.backbone.tower.base.items()}
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert not changed & base
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained <= changed and any("adapters" in name for name in trained) == (method == "lora")
    assert not any("positions" in name for name in model.state_dict())


def check_types(project: str, tower: str) -> None:
    """Types of tokens change what is found; they train at the base rate, or at that of a tower that trains."""
    from effowt_d2.engine import build_optimizer

    options = {"MODEL__PEFT__METHOD": "none", "SOLVER__TOWER_LR_FACTOR": 0.1, "SOLVER__BASE_LR": 0.5}
    plain, typed = (centre_model(project, tower, MODEL__SOT__CROP_TYPE_STD=std, **options) for std in (0.0, 1.0))
    assert set(typed.state_dict()) - set(plain.state_dict()) == {"backbone.embedding.types"}
    # of the same weights but for the types, which are made first
    typed.load_state_dict(plain.state_dict(), strict=False)
    templates, clip = made_clip(frames=2)
    assert not outputs(plain, templates, clip)[0].equal(outputs(typed, templates, clip)[0])
    optimizer = build_optimizer(centre_config(project, tower, **options), typed)
    types = typed.backbone.embedding.types
    assert [group["lr"] for group in optimizer.param_groups for p in group["params"] if p is types] == [0.5]
    # those of a tower that trains are trained as it is
    options["MODEL__PEFT__METHOD"] = "full"
    typed = centre_model(project, MODEL__SOT__CROP_TYPE_STD=1.0, **options)
    optimizer = build_optimizer(centre_config(project, **options), typed)
    types = typed.backbone.embedding.types
    rates = [group["lr"] for group in optimizer.param_groups for p in group["params"] if p is types]
    assert rates == [pytest.approx(0.05)]
    with pytest.raises(ValueError, match="MODEL.SOT.CROP_TYPE_STD.*-1.0"):
        centre_model(project, MODEL__SOT__CROP_TYPE_STD=-1.0)
