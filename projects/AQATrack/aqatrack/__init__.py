"""AQATrack for effowt_d2. Importing this package registers the meta-architecture ``AQATrack``."""

from .config import add_config
from .model import AQATrack

__all__ = ["AQATrack", "add_config"]
