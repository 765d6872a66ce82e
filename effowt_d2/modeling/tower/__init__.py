"""The frozen tower: the vision transformer of a CLIP model as a source of dense features."""

from . import conv_stem, eva, timm_vit  # noqa: F401  they register their families
from .builder import build_tower
from .hooks import BlockHook, attention_row
from .sites import ROLES, Site
from .tokens import NO_CELL, Tokens
from .tower import Tower

__all__ = ["NO_CELL", "ROLES", "BlockHook", "Site", "Tokens", "Tower", "attention_row", "build_tower"]
