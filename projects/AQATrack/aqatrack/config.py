"""The configuration keys of AQATrack, on top of those of single-object tracking."""

import sot
from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Integer, Real

from .decoder import HISTORY_SELF

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place."""
    sot.add_centre_config(cfg)
    cfg.MODEL.AQATRACK = CN()
    # of the decoder: layers, heads, channels of the MLPs (0: those of the tower), dropout
    cfg.MODEL.AQATRACK.DEC_LAYERS = 3
    cfg.MODEL.AQATRACK.NUM_HEADS = 8
    cfg.MODEL.AQATRACK.DIM_FEEDFORWARD = 0
    cfg.MODEL.AQATRACK.DROPOUT = 0.1
    # K: queries of earlier frames that are kept; 0 for no memory
    cfg.MODEL.AQATRACK.HISTORY_LEN = 3
    # when a frame looks at its own start value besides: always | never | train_only (the release)
    cfg.MODEL.AQATRACK.HISTORY_SELF = "always"
    # factor of the response map
    cfg.MODEL.AQATRACK.RESPONSE_SCALE = 1.0


register_domains(
    {
        "MODEL.AQATRACK.DEC_LAYERS": Integer(1),
        "MODEL.AQATRACK.NUM_HEADS": Integer(1),
        "MODEL.AQATRACK.DIM_FEEDFORWARD": Integer(0),
        "MODEL.AQATRACK.DROPOUT": Real(0, 1),
        "MODEL.AQATRACK.HISTORY_LEN": Integer(0),
        "MODEL.AQATRACK.HISTORY_SELF": Choice(HISTORY_SELF),
        "MODEL.AQATRACK.RESPONSE_SCALE": Real(0, open_low=True),
    }
)
