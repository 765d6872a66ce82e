"""The side network beside the tower."""

from .layout import SideLayout
from .network import SideNetwork
from .sparse_interaction import SparseInteraction

__all__ = ["SideLayout", "SideNetwork", "SparseInteraction"]
