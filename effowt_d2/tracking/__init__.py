"""Association of detections into tracks. Depends on tensors only, not on Detectron2 or config keys."""

from .presets import PRESETS, get_preset
from .tracker import Tracker

__all__ = ["PRESETS", "Tracker", "get_preset"]
