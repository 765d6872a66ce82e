"""The backbone as a node of a LazyConfig."""

from detectron2.config import CfgNode, LazyCall, get_cfg
from detectron2.layers import ShapeSpec
from omegaconf import DictConfig

from effowt_d2.config import add_effowt_config

from .builder import build_effowt_backbone

__all__ = ["lazy_effowt_backbone"]


def lazy_effowt_backbone() -> DictConfig:
    """A description of the backbone that takes the place of ``model.backbone`` in a LazyConfig.

    Its keys are those of ``effowt_d2.add_effowt_config``, with the defaults given there, below ``cfg``: in Python
    ``model.backbone.cfg.MODEL.VLM.NAME = "ViT-L-14"``, on a command line the same path and ``=``.
    Pixel mean, pixel standard deviation and input format are those of the model it becomes a part of. A model
    without ``input_format`` needs ``model.backbone.cfg.INPUT.FORMAT``.

    Returns:
        A node for ``detectron2.config.instantiate``.
    """
    cfg = get_cfg()
    add_effowt_config(cfg)
    read = {name: _plain(cfg.MODEL[name]) for name in ("VLM", "TRANSFER", "PEFT", "TOKENS", "SIDE")}
    # dots lead upwards: MODEL, cfg, backbone, model
    read.update(PIXEL_MEAN="${....pixel_mean}", PIXEL_STD="${....pixel_std}", UNSAFE_PICKLE=cfg.MODEL.UNSAFE_PICKLE)
    return LazyCall(build_effowt_backbone)(
        cfg={
            "MODEL": read,
            "INPUT": {"FORMAT": "${....input_format}"},
            "SOLVER": {key: cfg.SOLVER[key] for key in ("SIDE_LR_FACTOR", "TOWER_LR_FACTOR", "PEFT_LR_FACTOR")},
        },
        input_shape=LazyCall(ShapeSpec)(channels=3),
    )


def _plain(node: CfgNode) -> dict:
    return {key: _plain(value) if isinstance(value, CfgNode) else value for key, value in node.items()}
