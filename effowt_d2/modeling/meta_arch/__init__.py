"""Meta-architectures. Importing this package registers ``OpenWorldTracker``."""

from .open_world_tracker import OpenWorldTracker
from .tracker_config import build_tracker
from .video_state import RunningVideo, VideoState

__all__ = ["OpenWorldTracker", "RunningVideo", "VideoState", "build_tracker"]
