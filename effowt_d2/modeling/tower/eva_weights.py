"""EVA's detection checkpoints (EVA-01, EVA-02: ViTDet with Cascade Mask R-CNN) as weights of a tower.

What such a detector computes is taken over, not fitted to the CLIP model of the same size: its patch size, its table of
positions, no class token, no norm within the attention. So no tensor is resampled at load; the position table is
resized to the canvas by the tower, as that of any tower.
"""

import math
import re
from collections.abc import Mapping

import torch
from open_clip.timm_model import TimmModel
from timm.models.eva import Eva
from torch import Tensor, nn

from effowt_d2.utils.state_dicts import check_tensors, check_values

from .weight_files import WeightsReport

__all__ = ["PIXEL_MEAN", "PIXEL_STD", "is_eva_detector", "load_eva_detector"]

PREFIX = "backbone.net."
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
"""EVA's detectors normalise pixels as for ImageNet, its CLIP models as CLIP does."""

_MLP = {"w1": "fc1_g", "w2": "fc1_x", "w3": "fc2", "ffn_ln": "norm"}
_ROTARY = re.compile(r"(rope_win|rope_glb|blocks\.\d+\.attn\.rope)\.freqs_(cos|sin)")
_RELATIVE = re.compile(r"blocks\.\d+\.attn\.rel_pos_[hw]")


def is_eva_detector(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of EVA's detectors."""
    return PREFIX + "pos_embed" in state and any(key.startswith(f"{PREFIX}blocks.0.attn.") for key in state)


def load_eva_detector(
    visual: nn.Module, state: Mapping[str, Tensor], *, name: str, file: str, drop_relative_positions: bool = False
) -> tuple[WeightsReport, bool]:
    """Turn a CLIP model's vision half into the backbone of a detector; only to be used as a tower after that.

    Args:
        visual: of open_clip, an EVA model of the same width and depth. Of no use if an error is raised.
        state: of the whole detector; all but its backbone is left over.
        name, file: for messages.
        drop_relative_positions: leave out relative positions instead of refusing them. It changes the features.

    Returns:
        The report, and whether windows have rotary positions of their own.

    Raises:
        ValueError: the tower is not an EVA, a key is missing, has no counterpart or another shape, or there are
            relative positions.
    """
    if not isinstance(visual, TimmModel) or not isinstance(visual.trunk, Eva):
        raise ValueError(
            f"{file} is an EVA detection checkpoint, but {name} is no EVA; "
            "the name must be EVA01-g-14, EVA02-B-16 or EVA02-L-14, whichever has its size"
        )
    report = WeightsReport(file, left_over=[key for key in state if not key.startswith(PREFIX)])
    net = {key[len(PREFIX) :]: value for key, value in state.items() if key.startswith(PREFIX)}
    _check_relative(net, file, drop_relative_positions, report)
    _note_rotary(net, report)
    found = _rename(net, report)
    if "patch_embed.proj.weight" not in found:
        raise ValueError(f"{file}: {PREFIX}patch_embed.proj.weight is missing")
    eva = visual.trunk
    found["pos_embed"] = _without_class_position(found["pos_embed"], report)
    _become_detector(eva, found)
    problem = f"{file} could not be loaded into {name}, nothing of it was"
    check_tensors(found, eva.state_dict(), problem=problem)
    check_values(found, eva.state_dict(), problem=problem)
    eva.load_state_dict(found)
    return report, "rope_win.freqs_cos" in net


def _rename(net: Mapping[str, Tensor], report: WeightsReport) -> dict[str, Tensor]:
    """The tensors by timm's names, less those that a tower computes or does without."""
    found = {}
    for key, value in net.items():
        if _ROTARY.fullmatch(key) or _RELATIVE.fullmatch(key):
            report.left_over.append(PREFIX + key)
            continue
        new = _timm_name(key, unfused="blocks.0.attn.q_proj.weight" in net)
        found[new] = value
        if new == key:
            report.loaded.append(PREFIX + key)
        else:
            report.renamed.append((PREFIX + key, new))
    return found


def _timm_name(key: str, *, unfused: bool) -> str:
    key = re.sub(r"(?<=\.mlp\.)(w1|w2|w3|ffn_ln)(?=\.)", lambda found: _MLP[found[0]], key)
    key = key.replace(".attn.inner_attn_ln.", ".attn.norm.")
    return re.sub(r"\.attn\.([qv])_bias$", r".attn.\1_proj.bias", key) if unfused else key


def _check_relative(net: Mapping[str, Tensor], file: str, drop: bool, report: WeightsReport) -> None:
    """Relative positions add to every attention; as they start at zero, they may also never have been trained."""
    relative = [key for key, value in net.items() if _RELATIVE.fullmatch(key) and value.any()]
    if not relative:
        return
    if not drop:
        raise ValueError(
            f"{file} has relative positions ({relative[0]} and {len(relative) - 1} more), which the "
            "tower does not know: without them its features are not the detector's. "
            "With drop_relative_positions (MODEL.VLM.DROP_RELATIVE_POSITIONS True) it is imported all the same"
        )
    report.notes.append(
        f"{len(relative)} tables of relative positions were dropped: the features are not the detector's"
    )


def _note_rotary(net: Mapping[str, Tensor], report: WeightsReport) -> None:
    """Log the detector's canvas and windows."""

    def side(key: str) -> int:
        table: Tensor | None = net.get(key)
        return 0 if table is None else math.isqrt(len(table))

    canvas, window = side("rope_glb.freqs_cos"), side("rope_win.freqs_cos")
    if canvas:
        report.notes.append(
            f"the detector's canvas is {canvas} x {canvas} tokens, its windows {window} x {window}; its features come "
            f"out only with canvas {canvas} and window {window}"
        )


def _without_class_position(table: Tensor, report: WeightsReport) -> Tensor:
    """(1, [1 +] g * g, d) -> (1, g * g, d). The detector has no class token, whose position is a leftover."""
    count = table.shape[1]
    if math.isqrt(count) ** 2 == count:
        return table
    if math.isqrt(count - 1) ** 2 != count - 1:
        raise ValueError(
            f"{report.file}: {PREFIX}pos_embed has {count} positions, no square with or without a class token"
        )
    report.loaded.remove(PREFIX + "pos_embed")
    report.resized.append((PREFIX + "pos_embed", "its first entry, of a class token, was taken off"))
    return table[:, 1:]


def _become_detector(eva: Eva, found: dict[str, Tensor]) -> None:
    """Give the model the shapes of the detector, and take away what that has not."""
    grid = math.isqrt(found["pos_embed"].shape[1])
    kernel = found["patch_embed.proj.weight"].shape[-1]
    eva.set_input_size(img_size=(grid * kernel, grid * kernel), patch_size=(kernel, kernel))
    eva.pos_embed = nn.Parameter(torch.zeros(1, grid * grid, eva.embed_dim))
    eva.cls_token = None
    eva.num_prefix_tokens = 0
    eva.norm, eva.fc_norm, eva.head = nn.Identity(), nn.Identity(), nn.Identity()
    inner_norm = any(".attn.norm." in key for key in found)
    for block in eva.blocks:
        block.attn.num_prefix_tokens = 0
        if not inner_norm:
            block.attn.norm = nn.Identity()
