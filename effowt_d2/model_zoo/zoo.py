"""Configs and trained models by name, after the pattern of ``detectron2.model_zoo``."""

import os

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from effowt_d2.assets.configs import config_names, shipped_config
from effowt_d2.assets.paths import PREFIX
from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.engine.configs import make_config

__all__ = ["DEFAULT", "config_names", "get", "get_checkpoint_url", "get_config", "get_config_file"]

DEFAULT = "real/effowt_real.yaml"
"""Config of the model that tracks a user's video unless another is named."""
CHECKPOINT_URLS = {name: f"{PREFIX}{name}" for name in ("quick/shapes_ow_effowt", "real/effowt_real")}
"""Trained checkpoint of a config: shipped (``effowt://``) or whatever Detectron2's path manager fetches."""


def get_config_file(name: str) -> str:
    """Path of a zoo config.

    Args:
        name: relative to ``configs/``, with or without ``.yaml``: ``EffOWT/effowt_vit_b16.yaml``; ``effowt://``
            before it is allowed.

    Raises:
        KeyError: there is no such config.
    """
    found = f"{_stem(name)}.yaml"
    if found not in config_names():
        raise KeyError(f"no zoo config {name!r}; there are: {', '.join(config_names())}")
    return os.fspath(shipped_config(found))


def get_checkpoint_url(name: str) -> str:
    """Path or URL of the trained checkpoint of a config, for Detectron2's path manager.

    Raises:
        KeyError: there is no such config, or none was trained for it.
    """
    get_config_file(name)
    if _stem(name) not in CHECKPOINT_URLS:
        trained = ", ".join(f"{stem}.yaml" for stem in sorted(CHECKPOINT_URLS))
        raise KeyError(f"zoo config {name!r} has no trained checkpoint yet; trained: {trained}")
    return CHECKPOINT_URLS[_stem(name)]


def get_config(name: str, trained: bool = False) -> CfgNode:
    """A zoo config.

    Args:
        name: as for :func:`get_config_file`.
        trained: set ``MODEL.WEIGHTS`` to the trained checkpoint; otherwise it stays as the config has it.

    Raises:
        KeyError: there is no such config, or no trained checkpoint of it.
    """
    cfg = make_config(get_config_file(name))
    if trained:
        cfg.MODEL.WEIGHTS = get_checkpoint_url(name)
    return cfg


def get(name: str, trained: bool = False, device: str | None = None) -> torch.nn.Module:
    """Build a zoo model and load its weights; it comes in training mode.

    Args:
        name: as for :func:`get_config_file`.
        trained: with the trained checkpoint.
        device: overrides ``MODEL.DEVICE``; if omitted, the config's device, or the CPU where CUDA is missing.

    Raises:
        KeyError: there is no such config, or no trained checkpoint of it.
    """
    cfg = get_config(name, trained)
    if device is None and not torch.cuda.is_available():
        device = "cpu"
    if device is not None:
        cfg.MODEL.DEVICE = device
    model = build_model(cfg)
    EffOWTCheckpointer(model, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE, complete=True, partial=cfg.MODEL.PARTIAL).load(
        cfg.MODEL.WEIGHTS
    )
    return model


def _stem(name: str) -> str:
    return name.removeprefix(PREFIX).removesuffix(".yaml")
