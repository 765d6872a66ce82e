"""Frames in, frames and tracks out: readers, writers and result files."""

from .frame_tracks import FrameTracks
from .results import open_results
from .sources import Frame, FrameReader, FrameSource, open_frames
from .video_writer import open_writer

__all__ = ["Frame", "FrameReader", "FrameSource", "FrameTracks", "open_frames", "open_results", "open_writer"]
