"""Association of detections into tracks. Knows tensors, not Detectron2."""

from .presets import PRESETS
from .tracker import Tracker, build_tracker

__all__ = ["PRESETS", "Tracker", "build_tracker"]
