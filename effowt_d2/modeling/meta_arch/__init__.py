"""Meta-architectures. Importing this package registers ``OpenWorldTracker``."""

from .open_world_tracker import OpenWorldTracker

__all__ = ["OpenWorldTracker"]
