"""SPMTrack for effowt_d2. Importing this package registers the meta-architecture ``SPMTrack``."""

from .config import add_config
from .model import SPMTrack

__all__ = ["SPMTrack", "add_config"]
