"""The parts of a tracker as a config describes them."""

from typing import Any

from detectron2.config import CfgNode

from effowt_d2.modeling.transfer.towers import tower_from_config
from effowt_d2.utils.arguments import config_keys

from .data.loader import build_crops
from .encoder import JointEncoder
from .head import AnchorFreeHead
from .losses import OverlapLoss
from .window import WindowSelection

__all__ = ["tracker_arguments"]


def tracker_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of :class:`sot.tracker.SingleObjectTracker`, and ``head`` and ``loss``.

    Args:
        cfg: reads ``MODEL.VLM``, ``MODEL.PEFT``, ``MODEL.SOT``, ``INPUT.SOT``, ``INPUT.FORMAT``.

    Raises:
        ValueError: an option does not fit; names the key.
    """
    template, search = build_crops(cfg)
    tower = tower_from_config(cfg).finalise()
    with config_keys("INPUT.SOT", template_grid="INPUT.SOT.TEMPLATE_SIZE"):
        backbone = JointEncoder(tower=tower, template_size=template.size, search_size=search.size)
    with config_keys("MODEL.SOT", weight="MODEL.SOT.WINDOW_WEIGHT"):
        selection = WindowSelection(weight=cfg.MODEL.SOT.WINDOW_WEIGHT)
        loss = OverlapLoss(box_weight=cfg.MODEL.SOT.BOX_WEIGHT)
    return {
        "backbone": backbone,
        "template": template,
        "search": search,
        "selection": selection,
        "input_format": cfg.INPUT.FORMAT,
        "head": AnchorFreeHead(channels=tower.embed_dim),
        "loss": loss,
    }
