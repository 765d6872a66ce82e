"""The tracker that ``cfg.TRACKER`` describes."""

from typing import Any

from detectron2.config import CfgNode

from effowt_d2.tracking import Tracker, get_preset
from effowt_d2.utils.arguments import config_keys

__all__ = ["build_tracker", "tracker_settings"]


def tracker_settings(node: CfgNode) -> dict[str, Any]:
    """The arguments of :class:`Tracker` that the config gives: the preset's, replaced by every key that is not None.

    Args:
        node: ``cfg.TRACKER``.

    Raises:
        ValueError: unknown preset, or no preset and a key left None.
    """
    with config_keys("TRACKER", name="TRACKER.PRESET"):
        settings = get_preset(node.PRESET) if node.PRESET else {"memory_seconds": None}
    keys = [key for key in node if key != "PRESET"]
    settings.update({key.lower(): node[key] for key in keys if node[key] is not None})
    missing = [key for key in keys if key.lower() not in settings]
    if missing:
        raise ValueError(f"TRACKER.PRESET is empty, so these keys need values: {', '.join(missing)}")
    return settings


def build_tracker(node: CfgNode) -> Tracker:
    """Build what ``cfg.TRACKER`` describes.

    Args:
        node: ``cfg.TRACKER``.

    Raises:
        ValueError: as :func:`tracker_settings`, or an invalid value.
    """
    settings = tracker_settings(node)
    with config_keys("TRACKER"):
        return Tracker(**settings)
