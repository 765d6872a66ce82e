"""The configuration keys of SPMTrack, on top of those of single-object tracking."""

import sot
from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Integer, Real

from .memory import HISTORIES

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place."""
    sot.add_config(cfg)
    cfg.MODEL.SPMTRACK = CN()
    # which earlier frames a frame looks at: halves | thirds | first (the given one only)
    cfg.MODEL.SPMTRACK.HISTORY = "halves"
    # frames that are kept besides the given one; 0: all that can still be looked at
    cfg.MODEL.SPMTRACK.MEMORY_CAP = 0
    # a target that is found with a lower score is not remembered
    cfg.MODEL.SPMTRACK.ADMIT_SCORE = 0.0
    # factor of the response map
    cfg.MODEL.SPMTRACK.RESPONSE_SCALE = 1.0
    # iterations in which the loss of the boxes counts BOX_WARMUP_FACTOR times
    cfg.MODEL.SPMTRACK.BOX_WARMUP = 0
    cfg.MODEL.SPMTRACK.BOX_WARMUP_FACTOR = 10.0


register_domains(
    {
        "MODEL.SPMTRACK.HISTORY": Choice(tuple(HISTORIES)),
        "MODEL.SPMTRACK.MEMORY_CAP": Integer(0),
        "MODEL.SPMTRACK.ADMIT_SCORE": Real(0, 1),
        "MODEL.SPMTRACK.RESPONSE_SCALE": Real(0, open_low=True),
        "MODEL.SPMTRACK.BOX_WARMUP": Integer(0),
        "MODEL.SPMTRACK.BOX_WARMUP_FACTOR": Real(0, open_low=True),
    }
)
