"""The configuration keys of single-object tracking, on top of those of effowt_d2."""

from detectron2.config import CfgNode as CN
from sot.evaluation.conventions import CONVENTIONS

from effowt_d2.engine.key_domains import register_domains
from effowt_d2.utils.domains import Choice, Flag

__all__ = ["add_config"]


def add_config(cfg: CN) -> None:
    """Add the keys to a config that has those of effowt_d2, in place; one that has them stays as it is.

    Args:
        cfg: the node that ``effowt_d2.add_effowt_config`` was called with.
    """
    if "SOT" in cfg.TEST:
        return
    cfg.TEST.SOT = CN()
    # how one-pass evaluation counts: pytracking | valid_only | got10k | trackingnet; auto: as the dataset's tables do
    cfg.TEST.SOT.CONVENTION = "auto"
    # draw success and precision plots
    cfg.TEST.SOT.PLOTS = True


register_domains(
    {
        "TEST.SOT.CONVENTION": Choice(lambda: ["auto", *CONVENTIONS.names()]),
        "TEST.SOT.PLOTS": Flag(),
    }
)
