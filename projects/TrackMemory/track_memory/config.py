"""The configuration keys of learned memories, on top of those of effowt_d2."""

from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Integer, Real

from .memories import MEMORIES

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place."""
    cfg.MODEL.TRACK_MEMORY = CN()
    node = cfg.MODEL.TRACK_MEMORY
    # what a track remembers besides: queries (AQATrack) | tokens (EVPTrack) | average (nothing learned)
    node.KIND = "queries"
    # weight of the similarity to it, against that to the moving average of TRACKER.MOMENTUM; 0: as without
    node.WEIGHT = 1.0
    # weight of the new embedding in the average that the memory corrects
    node.MOMENTUM = 0.5
    # channels, heads and layers of the attention
    node.WIDTH = 64
    node.HEADS = 4
    node.LAYERS = 1
    # KIND queries: queries of earlier frames that are kept
    node.LENGTH = 3
    # KIND tokens: side of the squares of cells that are averaged
    node.POOL = 2

    # frames of a training clip, and the most frames from one to the next
    cfg.DATA.CLIP_LENGTH = 6
    cfg.DATA.CLIP_STRIDE = 3


register_domains(
    {
        "MODEL.TRACK_MEMORY.KIND": Choice(MEMORIES.names),
        "MODEL.TRACK_MEMORY.WEIGHT": Real(0, 1),
        "MODEL.TRACK_MEMORY.MOMENTUM": Real(0.01, 1),
        "MODEL.TRACK_MEMORY.WIDTH": Integer(1),
        "MODEL.TRACK_MEMORY.HEADS": Integer(1),
        "MODEL.TRACK_MEMORY.LAYERS": Integer(1),
        "MODEL.TRACK_MEMORY.LENGTH": Integer(0),
        "MODEL.TRACK_MEMORY.POOL": Integer(1),
        "DATA.CLIP_LENGTH": Integer(2),
        "DATA.CLIP_STRIDE": Integer(1),
    }
)
