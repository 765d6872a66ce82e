"""The frozen tower: the vision transformer of a CLIP model as a source of dense features."""

from .builder import build_tower
from .tower import Tower

__all__ = ["Tower", "build_tower"]
