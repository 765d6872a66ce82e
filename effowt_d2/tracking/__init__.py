"""Association of detections into tracks. Depends on tensors only, not on Detectron2 or config keys."""

from .presets import PRESETS, get_preset
from .track_state import Looks, MovingAverage, State, TrackState
from .tracker import Tracker

__all__ = ["PRESETS", "Looks", "MovingAverage", "State", "TrackState", "Tracker", "get_preset"]
