"""Reading frames, drawing tracks into them, and writing videos and results."""

from .draw import Trails, draw_tracks, track_color
from .results import FrameTracks, open_results
from .video_io import Frame, FrameReader, open_frames
from .video_writer import open_writer

__all__ = [
    "Frame",
    "FrameReader",
    "FrameTracks",
    "Trails",
    "draw_tracks",
    "open_frames",
    "open_results",
    "open_writer",
    "track_color",
]
