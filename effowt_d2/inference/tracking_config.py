"""The config of a tracking run: from a node, a file or a name of the zoo, overridden by the caller."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode

from effowt_d2.engine.configs import make_config, merge_options
from effowt_d2.model_zoo import get_checkpoint_url
from effowt_d2.modeling.tower.precision import PRECISIONS

__all__ = ["make_tracking_config"]

# a user's video has a frame rate; the frames of the presets are made for the one frame a second of TAO
_MEMORY_SECONDS = 1.0

logger = logging.getLogger(__name__)


def make_tracking_config(
    source: CfgNode | str | Path,
    *,
    weights: str | Path | None = None,
    device: str | None = None,
    precision: str | None = None,
    max_side: int | None = None,
    memory: float | None = None,
    opts: Sequence = (),
) -> CfgNode:
    """A config to track videos with; nothing is loaded.

    Args:
        source: a config, a YAML file, or the name of a zoo config, which brings its trained weights if there are any.
        weights: in place of ``MODEL.WEIGHTS``.
        device: in place of ``MODEL.DEVICE``. None: the config's, or the CPU where there is no CUDA.
        precision: in place of ``TEST.PRECISION``.
        max_side: longest side of a frame inside the model, in pixels.
        memory: in place of ``TRACKER.MEMORY_SECONDS``. None: the config's seconds or frames, or 1 second where it
            has neither.
        opts: config keys and values in turn.

    Raises:
        FileNotFoundError: neither such a file nor such a name.
        ValueError: an unknown key, a value that can't be, or a config without this plugin's keys; the text names it.
    """
    cfg = _merge(source, opts) if isinstance(source, CfgNode) else _read(str(source), opts)
    if weights is not None:
        cfg.MODEL.WEIGHTS = str(weights)
    cfg.MODEL.DEVICE = _check_device(device) if device is not None else _fallback(cfg.MODEL.DEVICE)
    if precision is not None:
        cfg.TEST.PRECISION = precision
    if cfg.TEST.PRECISION not in PRECISIONS:
        raise ValueError(f"precision {cfg.TEST.PRECISION!r} doesn't exist; there are {', '.join(PRECISIONS)}")
    if cfg.TEST.FRAMES_PER_BATCH < 1:
        raise ValueError(f"TEST.FRAMES_PER_BATCH must be at least 1, got {cfg.TEST.FRAMES_PER_BATCH}")
    if max_side is not None:
        if max_side < 1:
            raise ValueError(f"the longest side inside the model must be at least 1 pixel, got {max_side}")
        cfg.INPUT.MAX_SIZE_TEST = max_side
        # 0 is Detectron2's way to leave frames as they are, whatever the longest side
        cfg.INPUT.MIN_SIZE_TEST = min(cfg.INPUT.MIN_SIZE_TEST or max_side, max_side)
    _set_memory(cfg.TRACKER, memory)
    return cfg


def _set_memory(tracker: CfgNode, seconds: float | None) -> None:
    if seconds is None:
        if tracker.MEMORY_SECONDS is None and tracker.MEMORY_FRAMES is None:
            tracker.MEMORY_SECONDS = _MEMORY_SECONDS
        return
    if not 0 < seconds < math.inf:
        raise ValueError(f"the memory for lost tracks must be above 0 seconds and finite, got {seconds}")
    tracker.MEMORY_SECONDS = float(seconds)


def _merge(cfg: CfgNode, opts: Sequence) -> CfgNode:
    if "TRACKER" not in cfg:
        raise ValueError("the config has no TRACKER: call effowt_d2.add_effowt_config(cfg) after get_cfg()")
    cfg = cfg.clone()
    cfg.defrost()
    merge_options(cfg, opts)
    return cfg


def _read(source: str, opts: Sequence) -> CfgNode:
    cfg = make_config(source, opts)
    if not Path(source).is_file() and not cfg.MODEL.WEIGHTS:
        try:
            cfg.MODEL.WEIGHTS = get_checkpoint_url(source)
        except KeyError as error:
            logger.warning(error.args[0])
    return cfg


def _fallback(device: str) -> str:
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s, but there is no CUDA here: the CPU is used", device)
        return "cpu"
    return device


def _check_device(device: str) -> str:
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r}: {str(error).splitlines()[0]}") from None
    count = torch.cuda.device_count()
    if asked.type == "cuda" and (asked.index or 0) >= count:
        raise ValueError(f"device {device!r} is not here: torch sees {count} CUDA devices")
    return device
