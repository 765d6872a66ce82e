"""Towers by open_clip's names, with weights, or an error that names what is missing."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import open_clip
import torch
from torch import Tensor, nn

from effowt_d2.assets import register_vlm_configs
from effowt_d2.assets.paths import resolve_weights
from effowt_d2.utils.arguments import about_argument, bad_argument
from effowt_d2.utils.checks import check_count

from . import eva_weights
from .families import FAMILIES
from .precision import check_backend, check_precision
from .timm_trunks import check_timm_name, create_trunk, is_timm, load_trunk, pixels_of
from .tower import STRIDE, Tower
from .weight_files import load_clip_tower, read_weights

OPENCLIP = "openclip://"


def build_tower(
    name: str,
    weights: str,
    *,
    allow_random: bool = False,
    canvas: int = 64,
    frozen: bool = True,
    window: int = 0,
    global_blocks: Sequence[int] = (),
    precision: str = "float32",
    compile_backend: str = "",
    stride: int = STRIDE,
    drop_path: float = 0.0,
    drop_relative_positions: bool = False,
    unsafe_pickle: bool = False,
) -> Tower:
    """Build the vision tower of a CLIP model, and log what became of the tensors of its weights file.

    It is yet to be finalised, if it has a precision of its own or is to be compiled.

    Under ``torch.device("meta")`` nothing is loaded or allocated, whatever ``weights`` is.

    Args:
        name: open_clip's model name, a model shipped with this package, or ``timm://NAME`` for one of timm's ViTs.
        weights: ``openclip://TAG``, ``effowt://NAME``, or a file (.pt, .bin, .safetensors) of the whole CLIP model or
            of one of EVA's detectors, detected by its keys.
        allow_random: empty weights mean random ones instead of an error.
        canvas: side of the position canvas in tokens; 0 keeps the pre-training grid.
        frozen, window, global_blocks, precision, compile_backend, stride, drop_path: see :class:`Tower`.
        drop_relative_positions: take a detector's weights without its relative positions instead of refusing them.
        unsafe_pickle: read files that hold more than tensors and plain values; they can run any code.

    Raises:
        ValueError: the name or tag is unknown, the weights are damaged, missing or not of this model, the tower is of
            a family that is not supported, a window or block number is out of range, or stride, precision or
            backend do not fit.
        FileNotFoundError: the weights file is not there.
        OSError, RuntimeError: the weights could not be fetched.
    """
    on_meta = torch.get_default_device().type == "meta"
    source = find_weights(name, "" if on_meta else weights, allow_random=on_meta or allow_random)
    check_count("canvas", canvas, 0)
    check_precision(precision, frozen)
    check_backend(compile_backend)
    settings = {"canvas": canvas, "frozen": frozen, "window": window, "global_blocks": global_blocks}
    settings.update(precision=precision, compile_backend=compile_backend, stride=stride, drop_path=drop_path)
    if source is None:
        return _wrap_timm(name, **settings) if is_timm(name) else _wrap(_create(name), name, **settings)
    pixels, file = {}, source
    if weights.startswith(OPENCLIP):
        pixels, file = open_clip.get_pretrained_cfg(name, source), fetch_weights(name, source)
    with about_argument("weights"):
        state = read_weights(file, unsafe_pickle=unsafe_pickle)
    if is_timm(name):
        return _wrap_timm(name, state, file, **settings)
    with without_random_warning():
        model = _create(name, force_preprocess_cfg={key: pixels[key] for key in ("mean", "std") if key in pixels})
    with about_argument("weights"):
        settings.update(_load(model, state, name=name, file=file, drop_relative_positions=drop_relative_positions))
    return _wrap(model, name, **settings)


def _load(model: nn.Module, state: dict, *, name: str, file: str, drop_relative_positions: bool) -> dict:
    """Fill the model and return what follows from the file for the tower's settings."""
    if not eva_weights.is_eva_detector(state):
        load_clip_tower(model, state, name=name, file=file).log()
        return {}
    report, rotary_windows = eva_weights.load_eva_detector(
        model.visual, state, name=name, file=file, drop_relative_positions=drop_relative_positions
    )
    report.log()
    pixels = {"pixel_mean": eva_weights.PIXEL_MEAN, "pixel_std": eva_weights.PIXEL_STD}
    return {"rotary_windows": rotary_windows, **pixels}


def _create(name: str, **arguments) -> nn.Module:
    device = torch.get_default_device()
    return open_clip.create_model(name, load_weights=False, pretrained_text=False, device=device, **arguments)


def _wrap_timm(name: str, state: Mapping[str, Tensor] | None = None, file: str = "", **settings) -> Tower:
    trunk = create_trunk(name)
    if state is not None:
        with about_argument("weights"):
            load_trunk(trunk, state, name=name, file=file).log()
    return _in_family(trunk, name, **{**pixels_of(trunk), **settings})


def _wrap(model: nn.Module, name: str, **settings) -> Tower:
    pixels = open_clip.get_model_preprocess_cfg(model)
    return _in_family(model.visual, name, **{"pixel_mean": pixels["mean"], "pixel_std": pixels["std"], **settings})


def _in_family(visual: nn.Module, name: str, **settings) -> Tower:
    family = next((f for f in FAMILIES if f.accepts(visual)), None)
    if family is None:
        raise bad_argument(
            "name",
            f"{name!r}: its tower ({type(visual).__name__}) is of no registered family; registered: {FAMILIES.names()}",
        )
    return family(visual, name=name, **settings)


def find_weights(name: str, weights: str, *, allow_random: bool = False) -> str | None:
    """Kind of the weights: a tag of open_clip or a file, None for random weights; nothing is loaded.

    Args and errors: as for :func:`build_tower`.
    """
    _check_name(name)
    if not weights:
        if allow_random:
            return None
        tags = [] if is_timm(name) else open_clip.list_pretrained_tags_by_model(name)
        others = f" or one of {[OPENCLIP + tag for tag in tags]}" if tags else ""
        raise bad_argument(
            "weights",
            f"are empty: the tower {name} would be random. Name a file{others}, or set allow_random "
            "(MODEL.VLM.ALLOW_RANDOM True)",
        )
    if weights.startswith(OPENCLIP):
        tag = weights[len(OPENCLIP) :]
        if is_timm(name):
            raise bad_argument("weights", f"{weights}: open_clip has none of {name}, name a file")
        _check_tag(name, tag)
        return tag
    with about_argument("weights"):
        path = resolve_weights(weights)
    if not os.path.isfile(path):
        raise bad_argument("weights", f"{weights}: no such file", FileNotFoundError)
    return path


def _check_name(name: str) -> None:
    if is_timm(name):
        check_timm_name(name)
        return
    register_vlm_configs()
    known = open_clip.list_models()
    if name not in known:
        near = [k for k in known if k.lower()[:4] == name.lower()[:4]] or known
        raise bad_argument("name", f"{name!r} is no model of open_clip; known names: {', '.join(near)}")


def _check_tag(name: str, tag: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag not in tags:
        raise bad_argument("weights", f"{OPENCLIP}{tag} do not exist for {name}; open_clip has the tags: {tags}")
    # open_clip only warns, and the features are those of another function
    of_weights = open_clip.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    of_model = open_clip.get_model_config(name).get("quick_gelu", False)
    if of_weights != of_model:
        kinds = {True: "QuickGELU", False: "GELU"}
        fitting = [
            n
            for n in open_clip.list_models()
            if n.startswith(name) and open_clip.get_model_config(n).get("quick_gelu", False) == of_weights
        ]
        raise bad_argument(
            "name",
            f"{name} computes {kinds[of_model]}, but the weights {tag!r} were trained with {kinds[of_weights]}; "
            f"it must be one that fits, of {fitting}",
        )


def fetch_weights(name: str, tag: str) -> str:
    """The file of open_clip's pretrained tag, downloaded if it isn't here.

    Raises:
        RuntimeError: it could not be.
    """
    try:
        return open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, tag))
    except Exception as error:  # whatever the downloader raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        problem = f"{OPENCLIP}{tag} of {name} could not be fetched: {reason}"
        raise bad_argument("weights", problem, RuntimeError) from error


@contextmanager
def without_random_warning() -> Iterator[None]:
    """open_clip warns that the model is random, which it is only until its weights are loaded."""

    def keep(record: logging.LogRecord) -> bool:
        return "Model initialized randomly" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)
