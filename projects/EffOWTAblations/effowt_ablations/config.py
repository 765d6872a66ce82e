"""The configuration keys of the controls, on top of those of effowt_d2."""

from detectron2.config import CfgNode

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Flag, Integer

__all__ = ["add_config"]


def add_config(cfg: CfgNode) -> None:
    """Add the keys to a config that has those of effowt_d2, in place.

    Args:
        cfg: the node that ``effowt_d2.add_effowt_config`` was called with.
    """
    side = cfg.MODEL.SIDE
    # with STRATEGY "side_transformer": widen the stride-16 MLP by what the convolutions of strategy "side" hold
    side.MATCH_PARAMS = False
    # labelled samples for INIT "fisher"
    side.FISHER_SAMPLES = 1024
    # seed of INIT "random" and of the offsets of SIM.KIND "random"
    side.SEED = 0
    # cosine coefficients per axis and group, for SIM.KIND "dct"
    side.SIM.COEFFICIENTS = 16
    # map side in tokens, for SIM.KIND "fixed" (its matrices know one resolution only)
    side.SIM.RESOLUTION = 64


register_domains(
    {
        "MODEL.SIDE.MATCH_PARAMS": Flag(),
        "MODEL.SIDE.FISHER_SAMPLES": Integer(1),
        "MODEL.SIDE.SEED": Integer(0),
        "MODEL.SIDE.SIM.COEFFICIENTS": Integer(1),
        "MODEL.SIDE.SIM.RESOLUTION": Integer(1),
    }
)
