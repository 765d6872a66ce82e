"""The parts of a tracker as a config describes them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from effowt_d2.modeling.transfer.towers import tower_from_config
from effowt_d2.utils.arguments import config_keys

from .centre_head import CentreHead
from .centre_loss import CentreLoss
from .data.loader import build_crops
from .embedding import SeparatePositions, TokenEmbedding
from .encoder import JointEncoder
from .head import AnchorFreeHead
from .losses import OverlapLoss
from .window import HannProduct, WindowSelection

__all__ = ["centre_tracker_arguments", "tracker_arguments"]


def tracker_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of :class:`sot.tracker.SingleObjectTracker`, and ``head`` and ``loss``.

    Args:
        cfg: reads ``MODEL.VLM``, ``MODEL.PEFT``, ``MODEL.SOT``, ``INPUT.SOT``, ``INPUT.FORMAT``, ``SOLVER``'s factors of learning
            rates.

    Raises:
        ValueError: an option does not fit; names the key.
    """
    embedding = partial(TokenEmbedding, type_std=cfg.MODEL.SOT.TYPE_STD)
    common = _common(cfg, JointEncoder, embedding, {"type_std": "MODEL.SOT.TYPE_STD"})
    with config_keys("MODEL.SOT", weight="MODEL.SOT.WINDOW_WEIGHT"):
        selection = WindowSelection(weight=cfg.MODEL.SOT.WINDOW_WEIGHT)
        loss = OverlapLoss(box_weight=cfg.MODEL.SOT.BOX_WEIGHT)
    head = AnchorFreeHead(channels=common["backbone"].tower.embed_dim)
    return {**common, "selection": selection, "head": head, "loss": loss}


def centre_tracker_arguments(
    cfg: CfgNode, encoder: Callable[..., JointEncoder] = JointEncoder, keys: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Arguments of :class:`sot.centre_tracker.CentreTracker`.

    Args:
        cfg: reads what :func:`tracker_arguments` does, but of ``MODEL.SOT`` ``CROP_TYPE_STD`` alone, and ``MODEL.CENTRE_HEAD``.
        encoder: makes the encoder.
        keys: config keys of further arguments of it, for error messages.

    Raises:
        ValueError: an option does not fit; names the key.
    """
    if cfg.INPUT.SOT.SAMPLER == "clip" and cfg.INPUT.SOT.REFERENCES != 1:
        raise ValueError(
            f"INPUT.SOT.REFERENCES: {cfg.MODEL.META_ARCHITECTURE} has one template, it must be 1 with INPUT.SOT.SAMPLER clip; "
            f"got {cfg.INPUT.SOT.REFERENCES}"
        )
    embedding = partial(SeparatePositions, type_std=cfg.MODEL.SOT.CROP_TYPE_STD)
    keys = {"type_std": "MODEL.SOT.CROP_TYPE_STD", **(keys or {})}
    common, node = _common(cfg, encoder, embedding, keys), cfg.MODEL.CENTRE_HEAD
    with config_keys("MODEL.CENTRE_HEAD"):
        head = CentreHead(channels=common["backbone"].tower.embed_dim, width=node.WIDTH, towers=node.TOWERS)
        loss = CentreLoss(giou_weight=node.GIOU_WEIGHT, l1_weight=node.L1_WEIGHT, radius=node.RADIUS)
    return {**common, "selection": HannProduct(), "head": head, "loss": loss, "margin": cfg.INPUT.SOT.MIN_SIDE}


def _common(
    cfg: CfgNode,
    encoder: Callable[..., JointEncoder],
    embedding: Callable[..., nn.Module],
    keys: Mapping[str, str],
) -> dict[str, Any]:
    template, search = build_crops(cfg)
    tower = tower_from_config(cfg).finalise()
    with config_keys("INPUT.SOT", template_grid="INPUT.SOT.TEMPLATE_SIZE", **keys):
        backbone = encoder(
            tower=tower,
            template_size=template.size,
            search_size=search.size,
            tower_lr_factor=cfg.SOLVER.TOWER_LR_FACTOR,
            peft_lr_factor=cfg.SOLVER.PEFT_LR_FACTOR,
            embedding=embedding,
        )
    return {"backbone": backbone, "template": template, "search": search, "input_format": cfg.INPUT.FORMAT}
