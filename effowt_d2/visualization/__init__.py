"""Reading frames, drawing tracks into them, and writing videos and results."""

from .draw import LABEL_FIELDS, Trails, draw_tracks, track_color
from .frame_tracks import FrameTracks
from .results import open_results
from .video_io import Frame, FrameReader, FrameSource, open_frames
from .video_writer import open_writer

__all__ = [
    "Frame",
    "FrameReader",
    "FrameSource",
    "FrameTracks",
    "LABEL_FIELDS",
    "Trails",
    "draw_tracks",
    "open_frames",
    "open_results",
    "open_writer",
    "track_color",
]
