"""How a tower is carried to detection: what trains, and where the pyramid comes from."""

from .ownership import TrainedPart
from .strategy import TransferStrategy, register_strategy

__all__ = ["TrainedPart", "TransferStrategy", "register_strategy"]
