"""Drawing tracks into frames."""

from .draw import LABEL_FIELDS, Trails, draw_tracks, track_color

__all__ = ["LABEL_FIELDS", "Trails", "draw_tracks", "track_color"]
