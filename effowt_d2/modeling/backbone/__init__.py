"""The frozen tower, the side network and the backbone made of them."""

from .builder import EffOWTBackbone, build_effowt_backbone
from .lazy import lazy_effowt_backbone
from .side_layout import SideLayout
from .side_network import SideNetwork
from .sparse_interaction import SparseInteraction
from .strategy import TransferStrategy, register_strategy
from .tower import Tower
from .tower_builder import build_tower

__all__ = [
    "EffOWTBackbone",
    "SideLayout",
    "SideNetwork",
    "SparseInteraction",
    "Tower",
    "TransferStrategy",
    "build_effowt_backbone",
    "build_tower",
    "lazy_effowt_backbone",
    "register_strategy",
]
