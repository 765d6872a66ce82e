"""Towers by open_clip's names, with weights that are there or an error that says what is missing."""

import os
from typing import Optional

import open_clip
import torch
from torch import nn

from effowt_d2.model_zoo.paths import resolve_weights
from effowt_d2.model_zoo.vlm import register_vlm_configs

from .tower import Tower
from .tower_families import FAMILIES

OPENCLIP = "openclip://"


def build_tower(
    name: str, weights: str, *, allow_random: bool = False, canvas: int = 64, frozen: bool = True
) -> Tower:
    """Build the vision tower of a CLIP model.

    Under ``torch.device("meta")`` nothing is loaded or allocated, whatever ``weights`` says.

    Args:
        name: open_clip's model name, or a model shipped with this package.
        weights: ``openclip://TAG``, ``effowt://NAME``, or a file (.pt, .bin, .safetensors) of the whole CLIP model.
        allow_random: empty weights mean random ones instead of an error.
        canvas: side of the position canvas in tokens; 0 keeps the pre-training grid.
        frozen: see :class:`Tower`.

    Raises:
        ValueError: the name or tag is unknown, the weights are not of this model or missing, or the tower is of a
            family that is not supported.
        FileNotFoundError: the weights file is not there.
        RuntimeError: open_clip could not fetch the weights.
    """
    register_vlm_configs()
    if name not in open_clip.list_models():
        raise ValueError(f"unknown tower {name!r} (MODEL.VLM.NAME); open_clip knows: {_near(name)}")
    device = torch.get_default_device()
    source = None if device.type == "meta" else _source(name, weights, allow_random)
    model = _create(name, source, device, weights)
    visual = model.visual
    family = next((f for f in FAMILIES if f.accepts(visual)), None)
    if family is None:
        raise ValueError(
            f"the tower of {name} ({type(visual).__name__}) is of no supported family; "
            f"supported: {[f.__name__ for f in FAMILIES]}"
        )
    pixels = open_clip.get_model_preprocess_cfg(model)
    return family(
        visual, name=name, pixel_mean=pixels["mean"], pixel_std=pixels["std"], canvas=canvas, frozen=frozen
    )


def _near(name: str) -> str:
    known = open_clip.list_models()
    family = [k for k in known if k.lower()[:4] == name.lower()[:4]]
    return ", ".join(family or known)


def _source(name: str, weights: str, allow_random: bool) -> Optional[str]:
    """What open_clip takes as ``pretrained``."""
    if not weights:
        if allow_random:
            return None
        raise ValueError(
            f"MODEL.VLM.WEIGHTS is empty: the tower {name} would be random. Name a file or one of "
            f"{[OPENCLIP + tag for tag in open_clip.list_pretrained_tags_by_model(name)]}, "
            "or set MODEL.VLM.ALLOW_RANDOM True"
        )
    if weights.startswith(OPENCLIP):
        tag = weights[len(OPENCLIP):]
        tags = open_clip.list_pretrained_tags_by_model(name)
        if tag not in tags:
            raise ValueError(f"open_clip has no weights {tag!r} for {name} (MODEL.VLM.WEIGHTS); it has: {tags}")
        return tag
    path = resolve_weights(weights)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"MODEL.VLM.WEIGHTS {weights}: no such file")
    return path


def _create(name: str, source: Optional[str], device: torch.device, weights: str) -> nn.Module:
    try:
        return open_clip.create_model(
            name, pretrained=source, load_weights=source is not None, pretrained_text=False, device=device
        )
    except Exception as error:
        if source is None:
            raise
        # open_clip raises whatever its downloader or torch.load raised
        kind = RuntimeError if weights.startswith(OPENCLIP) else ValueError
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise kind(f"MODEL.VLM.WEIGHTS {weights} could not be loaded into {name}: {reason}") from error
