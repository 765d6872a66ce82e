"""Files shipped with the package; ``effowt://NAME`` is a path of Detectron2's path manager from here on."""

from .paths import resolve_weights
from .vlm_configs import SHAPES_CLIP, register_vlm_configs, vlm_checkpoint

__all__ = ["SHAPES_CLIP", "register_vlm_configs", "resolve_weights", "vlm_checkpoint"]
