"""Comparisons that AQATrack and EVPTrack share: trunk and head layer by layer, training steps, a video.

Each takes the recorded tensors of a frame or run by name, and returns or yields what the systems compare on their own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from effowt_d2.engine import build_optimizer
from effowt_d2.engine.step import clip_gradients
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.utils.boxes import xywh_to_xyxy, xyxy_to_xywh

from .golden import below, golden, golden_manifest
from .golden_centre import normal, released_names

MAPS = ("score_map", "size_map", "offset_map", "pred_boxes")


def close(found: Tensor, expected: Tensor, atol: float = 2e-5) -> None:
    """To the manifest's tolerance: absolute, times the largest value of the tensor where that is above 1."""
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=atol * scale, check_dtype=False)


def centres(boxes: Tensor) -> Tensor:
    """x0, y0, x1, y1 as cx, cy, w, h."""
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)


@contextmanager
def taps(model: nn.Module) -> Iterator[dict[nn.Module, Tensor]]:
    """Within, the last output of every module that runs; the first one of those that give several."""
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, _, output) -> None:
        seen[module] = output[0] if isinstance(output, tuple) else output

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_stem(model: nn.Module, crops: Tensor, letter: str, given: dict[str, Tensor]) -> None:
    """The layers before the first attention, for templates (z) or search crops (x)."""
    with taps(model) as seen:
        model.backbone.tower.patches(crops)
    stem, grid = model.backbone.tower.vit.patch_embed.proj, crops.shape[-1] // 16
    close(_by_patch(seen[stem.norm], grid), given[f"stem/patch_embed_{letter}"])
    for number, block in enumerate(stem.blocks):
        close(_by_patch(seen[block], grid), given[f"stem/block{number}_{letter}"])


def _by_patch(cells: Tensor, grid: int) -> Tensor:
    """(1, h, w, c) as (1, patches, rows, columns, c)."""
    return cells.unflatten(2, (grid, -1)).unflatten(1, (grid, -1)).transpose(2, 3).flatten(1, 2)


def check_trunk(model: nn.Module, before: list[Tensor], crops: Tensor, given: dict[str, Tensor]) -> None:
    """The tokens that enter the attention blocks, and those behind each."""
    backbone, tower = model.backbone, model.backbone.tower
    x = torch.cat([*before, backbone.search_tokens(crops)], dim=1)
    running = tower.pass_type(tower, Tokens(tower.enter(x), x.shape[1] - 49, (7, 7)), [])
    for number in range(tower.depth):
        running.run(number)
        if "main/input" in given:
            close(running.tokens.x, given[f"main/block{number}"])
    if "main/input" in given:
        close(x, given["main/input"])
    close(tower.finish(running.tokens.x), given["main/norm"])


def check_head(model: nn.Module, maps: Tensor, given: dict[str, Tensor]) -> None:
    """Every convolution of the head where they are recorded, and its maps."""
    with taps(model) as seen:
        output = model.head(maps)
    names = {"ctr": "score", "size": "size", "offset": "offset" if "size" in model.head.towers else "box"}
    for name, value in below(given, "head/").items():
        if name != "input":
            tower, number = name.split("_conv")
            close(seen[model.head.towers[names[tower]][int(number) - 1]], value)
    check_maps(output, given)


def check_maps(output, given: dict[str, Tensor]) -> None:
    """Scores, sizes, offsets, and the box of the best cell."""
    close(output.scores[:, None], given["score_map"])
    close(output.sizes, given["size_map"])
    close(output.offsets, given["offset_map"], 5e-5)
    close(centres(output.best_boxes())[:, None], given["pred_boxes"], 5e-5)


def clip_crops(system: str) -> tuple[Tensor, list[Tensor]]:
    """Templates (B, 3, S, S) and T search crops (B, 3, S, S) of the recorded clips."""
    clip, forward = golden(f"{system}/clip"), golden(f"{system}/forward")

    def crop(number: int, mirror: int) -> Tensor:
        pixels = forward[f"t{number}/search_u8"]
        return pixels.flip(1) if mirror else pixels

    frames = zip(clip["search_index"].tolist(), clip["search_mirror"].tolist())
    searches = [normal(torch.stack([crop(*one) for one in zip(*frame)])) for frame in frames]
    return normal(clip["template_u8"]), searches


def name_map(model: nn.Module, system: str, own_name: Callable) -> dict[str, str]:
    """Names here by the recorded ones, of weights that are used."""
    state = golden(f"{system}/weights")
    here = {id(value): name for name, value in released_names(model, state, own_name)[0].items()}
    return {name: here[id(value)] for name, value in state.items() if id(value) in here}


def check_training(model: nn.Module, system: str, cfg, own_name: Callable) -> None:
    """Three steps on the recorded clips: targets, outputs, losses, gradients, rates, and values after the first step."""
    from sot.centre_loss import centre_heatmaps
    from sot.losses import overlaps

    numbers, manifest = golden(f"{system}/train"), golden_manifest(system)
    (templates, clip), names = clip_crops(system), name_map(model, system, own_name)
    boxes = xywh_to_xyxy(numbers["search_anno"].double().flatten(0, 1))
    close(centre_heatmaps(boxes, (7, 7))[:, None], numbers["target_heat"])
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = build_optimizer(cfg, model)
    _check_rates(optimizer, trained, names, manifest["parameter_groups"])
    for step, recorded in enumerate(numbers["losses"]):
        optimizer.zero_grad()
        output, _ = model.unroll(begin(model, templates), clip)
        losses = model.loss(output, boxes)
        if not step:
            check_maps(output, below(numbers, "train_mode/"))
        sum(losses.values()).backward()
        norm = torch.stack([p.grad.square().sum() for p in trained.values() if p.grad is not None]).sum().sqrt()
        found = [sum(losses.values()), losses["loss_giou"] / 2, losses["loss_l1"] / 5, losses["loss_score"]]
        found += [overlaps(output.best_boxes(), boxes.float().clamp(0, 1))[0].mean(), norm]
        torch.testing.assert_close(torch.stack(found).double(), recorded, rtol=1e-3 if step else 2e-5, atol=0)
        gradients = {name: None if p.grad is None else p.grad.clone() for name, p in trained.items()}
        if not step:
            _check_gradients(gradients, names, numbers, manifest["gradient_max_abs"])
        clip_gradients(optimizer, cfg.SOLVER.CLIP_GRADIENTS)
        optimizer.step()
        if not step:
            _check_values(dict(model.state_dict()), gradients, names, below(numbers, "after_step1/"))


def begin(model: nn.Module, templates: Tensor):
    """What is carried into the first frame."""
    from sot.state import Reference

    return model.begin(Reference(templates, templates.new_zeros(len(templates), 1, 1)))


def _check_rates(optimizer, trained: dict, names: dict[str, str], groups: dict) -> None:
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    base = max(rate for rate, _ in rates.values())
    for theirs, ours in names.items():
        if ours in trained:
            wanted = base if theirs in groups["group_0"] else 0.1 * base
            torch.testing.assert_close(rates[id(trained[ours])], (wanted, 1e-4), msg=theirs)


def _check_gradients(
    gradients: dict, names: dict[str, str], numbers: dict[str, Tensor], largest: dict[str, float]
) -> None:
    recorded = below(numbers, "grad/")
    idle = [name for name in recorded if name not in names]
    assert all(recorded[name].abs().max() < 1e-6 for name in idle), idle
    for theirs, wanted in recorded.items():
        if theirs in names:
            limit = 1e-5 + 1e-4 * wanted.abs().max().item()
            torch.testing.assert_close(gradients[names[theirs]], wanted, rtol=0, atol=limit, msg=theirs)
    # of a few large ones only the largest entry is recorded
    here = {names[name]: value for name, value in largest.items() if name in names}
    assert set(here) == {name for name, gradient in gradients.items() if gradient is not None}
    for name, value in here.items():
        torch.testing.assert_close(gradients[name].abs().max().item(), value, rtol=1e-4, atol=1e-5, msg=name)


def _check_values(state: dict, gradients: dict, names: dict[str, str], recorded: dict[str, Tensor]) -> None:
    """AdamW makes a whole step of a tiny gradient: entries are compared where the gradient is above 1e-3."""
    for theirs, wanted in recorded.items():
        gradient = gradients.get(names.get(theirs, ""))
        if theirs not in names:
            continue
        large = torch.ones_like(wanted, dtype=torch.bool) if gradient is None else gradient.abs() > 1e-3
        close(state[names[theirs]][large], wanted[large], 2e-6)


def check_tracking(model: nn.Module, system: str) -> Iterator[tuple[dict[str, Tensor], object]]:
    """Tracks the recorded video; yields what is recorded of each frame, and the state behind it."""
    numbers = golden(f"{system}/track")
    frames = numbers["frames"].permute(0, 3, 1, 2)
    state = model.start(frames[0], xywh_to_xyxy(numbers["init_box"])[None])
    torch.testing.assert_close(numbers["boxes"][0], numbers["init_box"])
    assert model.template(frames[0], state.boxes[0]).pixels.permute(1, 2, 0).equal(numbers["template_u8"].float())
    for t, frame in enumerate(frames[1:], 1):
        given = below(numbers, f"t{t}/")
        crop = model.search(frame, state.boxes[0])
        assert crop.pixels.long().sum() == given["search_pixel_sum"]
        torch.testing.assert_close(crop.map[0, :1], given["resize_factor"])
        if "search_u8" in given:
            assert crop.pixels.permute(1, 2, 0).equal(given["search_u8"].float())
        outputs: list = []
        handle = model.head.register_forward_hook(lambda *call: outputs.append(call[-1]))  # noqa: B023
        state, tracks = model.step(state, frame)
        handle.remove()
        (output,) = outputs
        close(output.scores[:, None], given["score_map"])
        close(output.sizes, given["size_map"])
        close(output.offsets, given["offset_map"], 5e-5)
        close(model.selection.responses(output.scores)[:, None], given["response"])
        box = torch.from_numpy(xyxy_to_xywh(state.boxes.numpy()))[0]
        torch.testing.assert_close(box, given["box"], rtol=0, atol=1e-2)
        torch.testing.assert_close(numbers["boxes"][t], given["box"])
        assert tracks.pred_boxes.tensor.double().allclose(state.boxes, atol=1e-4)
        yield given, state
