"""The configuration keys of EVPTrack, on top of those of single-object tracking."""

import sot
from detectron2.config import CfgNode as CN

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Flag, Integer, ListOf

from .encoder import NEW_LR

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place."""
    sot.add_centre_config(cfg)
    cfg.MODEL.EVPTRACK = CN()
    cfg.MODEL.EVPTRACK.PROMPT = CN()
    # patches of the multi-scale prompts in pixels, and the side of the squares of patches that one prompt stands for
    cfg.MODEL.EVPTRACK.PROMPT.PATCH_SIZES = [18, 16, 14]
    cfg.MODEL.EVPTRACK.PROMPT.MS_POOL = 3
    # side of the squares of carried tokens that one prompt stands for
    cfg.MODEL.EVPTRACK.PROMPT.ST_POOL = 2
    # whether there are multi-scale prompts, and spatio-temporal ones
    cfg.MODEL.EVPTRACK.USE_MS = True
    cfg.MODEL.EVPTRACK.USE_ST = True
    # blocks of what makes the carried tokens
    cfg.MODEL.EVPTRACK.STE_DEPTH = 1
    # no gradient from a frame of a clip to the ones before
    cfg.MODEL.EVPTRACK.ST_DETACH = False
    # learning rate of what is new in the encoder: that of the backbone (the release) or of the head
    cfg.SOLVER.NEW_IN_BACKBONE_LR = "backbone"


register_domains(
    {
        "MODEL.EVPTRACK.PROMPT.PATCH_SIZES": ListOf(Integer(1), low=1),
        "MODEL.EVPTRACK.PROMPT.MS_POOL": Integer(1),
        "MODEL.EVPTRACK.PROMPT.ST_POOL": Integer(1),
        "MODEL.EVPTRACK.USE_MS": Flag(),
        "MODEL.EVPTRACK.USE_ST": Flag(),
        "MODEL.EVPTRACK.STE_DEPTH": Integer(1),
        "MODEL.EVPTRACK.ST_DETACH": Flag(),
        "SOLVER.NEW_IN_BACKBONE_LR": Choice(NEW_LR),
    }
)
