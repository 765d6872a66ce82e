"""Association of detections into tracks. Knows tensors, neither Detectron2 nor config keys."""

from .presets import PRESETS, get_preset
from .tracker import Tracker

__all__ = ["PRESETS", "Tracker", "get_preset"]
