"""The frozen tower, the side network and the backbone made of them."""

from effowt_d2.modeling.side.layout import SideLayout
from effowt_d2.modeling.side.network import SideNetwork
from effowt_d2.modeling.side.sparse_interaction import SparseInteraction
from effowt_d2.modeling.tower.builder import build_tower
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.transfer.strategy import TransferStrategy, register_strategy

from .builder import EffOWTBackbone, build_effowt_backbone
from .lazy import lazy_effowt_backbone

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
