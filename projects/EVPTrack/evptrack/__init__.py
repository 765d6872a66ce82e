"""EVPTrack for effowt_d2. Importing this package registers the meta-architecture ``EVPTrack``."""

from .config import add_config
from .model import EVPTrack

__all__ = ["EVPTrack", "add_config"]
