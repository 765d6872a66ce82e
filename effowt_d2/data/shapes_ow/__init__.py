"""ShapesOW, the embedded procedural open-world benchmark: rendered on first use, no download."""

from .images import ImageSplit, draw_image, write_images
from .store import ensure_rendered
from .videos import VideoSplit, draw_video, write_videos

__all__ = [
    "ImageSplit",
    "VideoSplit",
    "draw_image",
    "draw_video",
    "ensure_rendered",
    "write_images",
    "write_videos",
]
