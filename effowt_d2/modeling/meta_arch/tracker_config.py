"""``cfg.TRACKER`` and the tracker: which keys build it, and how its errors name them."""

from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.config import CfgNode

from effowt_d2.tracking import SettingError, Tracker, get_preset

__all__ = ["build_tracker", "naming_the_key"]


def build_tracker(node: CfgNode) -> Tracker:
    """Build what ``cfg.TRACKER`` describes: the preset's settings, replaced by every key that is not None.

    Args:
        node: ``cfg.TRACKER``.

    Raises:
        ValueError: unknown preset, invalid value, or no preset and a key left None.
    """
    try:
        settings = get_preset(node.PRESET) if node.PRESET else {"memory_seconds": None}
    except ValueError as error:
        raise ValueError(f"TRACKER.PRESET: {error}") from error
    keys = [key for key in node if key != "PRESET"]
    settings.update({key.lower(): node[key] for key in keys if node[key] is not None})
    missing = [key for key in keys if key.lower() not in settings]
    if missing:
        raise ValueError(f"TRACKER.PRESET is empty, so these keys need values: {', '.join(missing)}")
    with naming_the_key():
        return Tracker(**settings)


@contextmanager
def naming_the_key() -> Iterator[None]:
    """Put the config key in front of what the tracker says about one of its settings.

    Raises:
        ValueError: in place of :class:`effowt_d2.tracking.SettingError`.
    """
    try:
        yield
    except SettingError as error:
        raise ValueError(f"TRACKER.{error.name.upper()}: {error}") from error
