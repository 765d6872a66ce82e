"""The tower that a config describes."""

from detectron2.config import CfgNode

from effowt_d2.modeling.peft import build_peft, peft_keys
from effowt_d2.modeling.tower.builder import build_tower
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import config_keys

from .strategy import transfer_of

__all__ = ["tower_from_config"]


def tower_from_config(cfg: CfgNode) -> Tower:
    """A tower with the PEFT method that the config chooses; it is yet to be finalised.

    Raises:
        ValueError, FileNotFoundError: see ``build_tower`` and the method; the message names the key.
    """
    method = build_peft(cfg, transfer_of(cfg).method)
    vlm = cfg.MODEL.VLM
    with config_keys("MODEL.VLM", compile_backend="MODEL.VLM.COMPILE", unsafe_pickle="MODEL.UNSAFE_PICKLE"):
        tower = build_tower(
            vlm.NAME,
            vlm.WEIGHTS,
            allow_random=vlm.ALLOW_RANDOM,
            canvas=vlm.CANVAS,
            frozen=not method.trains_base,
            window=vlm.WINDOW,
            global_blocks=list(vlm.GLOBAL_BLOCKS),
            precision=vlm.PRECISION,
            compile_backend=vlm.COMPILE,
            stride=vlm.STRIDE,
            drop_path=vlm.DROP_PATH,
            drop_relative_positions=vlm.DROP_RELATIVE_POSITIONS,
            unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE,
        )
    with peft_keys():
        method.apply(tower)
    return tower
