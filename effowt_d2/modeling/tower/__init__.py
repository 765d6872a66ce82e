"""The frozen tower: the vision transformer of a CLIP model as a source of dense features."""

from . import conv_stem  # noqa: F401  registers its family
from .builder import build_tower
from .tower import Tower

__all__ = ["Tower", "build_tower"]
