"""Trunks by timm's names, ``timm://NAME``: DINOv2 among them, from the public .pth files or timm's own."""

import math
from collections.abc import Mapping

import timm
import torch
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.state_dicts import check_tensors, check_values

from .weight_files import WeightsReport

__all__ = ["TIMM", "check_timm_name", "create_trunk", "is_timm", "load_trunk", "pixels_of"]

TIMM = "timm://"
_CLASSIFIER = "head."


def is_timm(name: str) -> bool:
    """Whether a tower's name is one of timm's models."""
    return name.startswith(TIMM)


def check_timm_name(name: str) -> None:
    """Raise ValueError for a model that timm doesn't know."""
    wanted = name[len(TIMM) :]
    if not timm.is_model(wanted):
        near = timm.list_models(f"*{wanted.split('_')[-1]}*") or timm.list_models("*dinov2*")
        raise bad_argument("name", f"{name!r} is no model of timm; known names: {', '.join(near)}")


def create_trunk(name: str) -> nn.Module:
    """The model with random weights, on the default device, without a classifier."""
    device = torch.get_default_device()
    return timm.create_model(name[len(TIMM) :], pretrained=False, num_classes=0).to(device)


def pixels_of(trunk: nn.Module) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation of the pixels that a model was trained with."""
    known = trunk.pretrained_cfg
    return {"pixel_mean": tuple(known["mean"]), "pixel_std": tuple(known["std"])}


def load_trunk(trunk: nn.Module, state: Mapping[str, Tensor], *, name: str, file: str) -> WeightsReport:
    """Fill a trunk from a file; its position table takes the size that it has there.

    Args:
        trunk: of :func:`create_trunk`; all of it is filled, or nothing.
        state: in the layout of DINOv2's files or of timm's. A trunk that has a layout of its own turns it into timm's by
            ``own_names(state)``, which gives the tensors that it takes and notes for the log.
        name, file: for messages.

    Raises:
        ValueError: the model is no ViT, or a key is missing, has no counterpart, another shape or holds NaN.
    """
    if not isinstance(trunk, VisionTransformer):
        raise bad_argument(
            "name", f"{name!r}: weights are loaded into a VisionTransformer, it is a {type(trunk).__name__}"
        )
    report, given = WeightsReport(file), state
    if hasattr(trunk, "own_names"):
        state, report.notes = trunk.own_names(state)
    _take_grid(trunk, state, report)
    problem = f"{file} could not be loaded into {name}, nothing of it was"
    found = checkpoint_filter_fn(dict(state), trunk) if _has_same_patch_size(trunk, state) else dict(state)
    expected = trunk.state_dict()
    found = {key: value for key, value in found.items() if not key.startswith(_CLASSIFIER)}
    check_tensors(found, expected, problem=problem)
    check_values(found, expected, problem=problem)
    trunk.load_state_dict(found)
    _note_keys(report, given, found, own_layout=given is not state)
    return report


def _note_keys(
    report: WeightsReport, state: Mapping[str, Tensor], found: Mapping[str, Tensor], *, own_layout: bool
) -> None:
    names = {id(value): key for key, value in found.items()}
    for key, value in state.items():
        new = names.get(id(value))
        if new == key:
            report.loaded.append(key)
        elif new is not None:
            report.renamed.append((key, new))
        elif key in found and not own_layout:
            report.resized.append((key, "the position of the class token is in the class token"))
        else:
            report.left_over.append(key)


def _has_same_patch_size(trunk: VisionTransformer, state: Mapping[str, Tensor]) -> bool:
    """Patches of another size would be resampled, which changes features; then the shapes are compared as they are."""
    weight = state.get("patch_embed.proj.weight")
    return weight is not None and weight.shape == trunk.patch_embed.proj.weight.shape


def _take_grid(trunk: VisionTransformer, state: Mapping[str, Tensor], report: WeightsReport) -> None:
    """Give the trunk the grid of the file: the tower resizes the table once itself, to its canvas."""
    table = state.get("pos_embed")
    if table is None or table.ndim != 3:
        return
    if "register_tokens" in state:
        prefix = 1
    else:
        prefix = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
    count = table.shape[1] - prefix
    grid = math.isqrt(count)
    if grid * grid != count:
        raise ValueError(
            f"{report.file}: pos_embed has {table.shape[1]} positions, {prefix} of them before a square; got {count}"
        )
    if (grid, grid) != trunk.patch_embed.grid_size:
        trunk.set_input_size(img_size=[grid * side for side in trunk.patch_embed.patch_size])
        report.notes.append(f"its table of positions is {grid} x {grid}, and so is the tower's now")
