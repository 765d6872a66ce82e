"""One self-contained web page per run: the playable result, its tracks, and how they compare with a ground truth."""

from .crop_writer import CropWriter
from .writer import ReportWriter

__all__ = ["CropWriter", "ReportWriter"]
