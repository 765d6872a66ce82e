"""Per-region heads. Importing this package registers ``OpenWorldROIHeads`` and ``OpenWorldBoxHead``."""

from .box_head import OpenWorldBoxHead
from .open_world_heads import OpenWorldROIHeads
from .reid_head import ReIDHead
from .reid_loss import ReIDLoss, ReIDPair
from .reid_sampling import ReIDSampler

__all__ = ["OpenWorldBoxHead", "OpenWorldROIHeads", "ReIDHead", "ReIDLoss", "ReIDPair", "ReIDSampler"]
