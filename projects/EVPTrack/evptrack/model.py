"""EVPTrack (arXiv 2401.03142): tokens that are carried from frame to frame become prompts of the same transformer, beside
prompts of the template at several patch sizes.

Shapes: B targets, C channels, a template of n tokens, a search grid of H x W.

    template pixels ─▶ multi-scale prompts ──────┐
    carried tokens ──▶ spatio-temporal prompts ──┤
    template tokens ─────────────────────────────┼─▶ tower ─▶ search features ─▶ head
    search tokens ───────────────────────────────┘
         └──── with template and carried tokens ─▶ spatio-temporal encoder ─▶ carried tokens of the next frame
"""

import os
from functools import partial
from typing import Any, NamedTuple

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from sot.build import centre_tracker_arguments
from sot.centre_tracker import CentreTracker
from sot.released_nets import centre_names, fill
from sot.state import Reference
from torch import Tensor

from .encoder import PromptedEncoder
from .released import own_name

__all__ = ["EVPTrack", "EVPState"]


class EVPState(NamedTuple):
    """What is carried: the template's tokens (B, n, C) and prompts (B, m, C), which stay, and tokens (B, n, C) that change."""

    z_tokens: Tensor
    ms_prompts: Tensor
    st_tokens: Tensor


@META_ARCH_REGISTRY.register()
class EVPTrack(CentreTracker):
    """Carries the template's tokens, re-derived in every frame.

    Args:
        st_detach: no gradient runs from a frame to the ones before.
        **tracker: see :class:`sot.centre_tracker.CentreTracker`; the backbone is a :class:`PromptedEncoder`.
    """

    backbone: PromptedEncoder

    @configurable
    def __init__(self, *, st_detach: bool = False, **tracker: Any):
        super().__init__(**tracker)
        self.st_detach = st_detach

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.EVPTRACK
        if node.USE_ST and cfg.INPUT.SOT.SEARCHES == 1:
            raise ValueError(
                "INPUT.SOT.SEARCHES: with MODEL.EVPTRACK.USE_ST a training clip needs 2 search frames at least, or what is "
                "carried on has no gradient; got 1"
            )
        own = {
            "patch_sizes": ("PROMPT.PATCH_SIZES", list(node.PROMPT.PATCH_SIZES)),
            "ms_pool": ("PROMPT.MS_POOL", node.PROMPT.MS_POOL),
            "st_pool": ("PROMPT.ST_POOL", node.PROMPT.ST_POOL),
            "depth": ("STE_DEPTH", node.STE_DEPTH),
            "use_ms": ("USE_MS", node.USE_MS),
            "use_st": ("USE_ST", node.USE_ST),
        }
        more = {name: value for name, (_, value) in own.items()}
        keys = {name: f"MODEL.EVPTRACK.{key}" for name, (key, _) in own.items()}
        keys["new_lr"], more["new_lr"] = "SOLVER.NEW_IN_BACKBONE_LR", cfg.SOLVER.NEW_IN_BACKBONE_LR
        common = centre_tracker_arguments(cfg, partial(PromptedEncoder, **more), keys)
        return {**common, "st_detach": node.ST_DETACH}

    def begin(self, reference: Reference) -> EVPState:
        tokens = self.backbone.template_tokens(*reference).float()
        return EVPState(tokens, self.backbone.ms_prompts(reference.crops).float(), tokens)

    def read(self, carried: EVPState, crops: Tensor) -> tuple[Tensor, EVPState]:
        before = carried.st_tokens.detach() if self.st_detach else carried.st_tokens
        search = self.backbone.search_tokens(crops)
        features, after = self.backbone.prompted(carried.z_tokens, carried.ms_prompts, before, search)
        kept = EVPState(carried.z_tokens, carried.ms_prompts, after.float())
        return features.float().permute(0, 3, 1, 2), kept

    def load_released(self, file: str | os.PathLike) -> None:
        """Take the weights of a released checkpoint; see :func:`sot.released_nets.fill`."""
        fill(self, file, lambda state: centre_names(state, self.backbone.tower, own_name))
