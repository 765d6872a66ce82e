"""Vision-language models shipped with the package: open_clip model configs and checkpoints."""

from .registry import SHAPES_CLIP, register_vlm_configs, vlm_checkpoint

__all__ = ["SHAPES_CLIP", "register_vlm_configs", "vlm_checkpoint"]
