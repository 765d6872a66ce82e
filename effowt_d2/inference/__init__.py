"""Tracking in videos with a trained model."""

from .video_tracker import VideoTracker

__all__ = ["VideoTracker"]
