"""Learned memories of tracks in open-world tracking. Importing this package registers the meta-architecture
``MemoryTracker``, the memories and the training loader ``clips``."""

from . import clips, query_memory, token_memory  # noqa: F401  (they register their parts)
from .config import add_config
from .memories import MEMORIES
from .model import MemoryTracker

__all__ = ["MEMORIES", "MemoryTracker", "add_config"]
