"""How a tower is carried to detection: what trains, and where the pyramid comes from."""

from .ownership import TrainedPart
from .side import Side
from .strategy import TransferStrategy, register_strategy

__all__ = ["Side", "TrainedPart", "TransferStrategy", "register_strategy"]
