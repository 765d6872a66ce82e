"""Meta-architectures. Importing this package registers ``OpenWorldTracker``."""

from .open_world_tracker import OpenWorldTracker
from .tracker_config import build_tracker

__all__ = ["OpenWorldTracker", "build_tracker"]
