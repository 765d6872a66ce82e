"""LoRAT (Tracking Meets LoRA, arXiv 2403.05231): a frozen ViT with low-rank updates, one template, an MLP head.

Shapes: B samples or targets, d channels, a template grid of h x w and a search grid of H x W.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from sot.build import tracker_arguments
from sot.head import AnchorFreeHead, HeadOutput
from sot.losses import OverlapLoss, SearchTargets
from sot.state import Reference, TrackState
from sot.tracker import SingleObjectTracker
from torch import Tensor

__all__ = ["LoRAT"]


@META_ARCH_REGISTRY.register()
class LoRAT(SingleObjectTracker):
    """The template of the first frame is never replaced; it is a video's only memory.

    Args:
        head: tokens to scores and boxes.
        loss: of its output.
        **tracker: see :class:`SingleObjectTracker`.
    """

    @configurable
    def __init__(self, *, head: AnchorFreeHead, loss: OverlapLoss, **tracker: Any):
        super().__init__(**tracker)
        self.head = head
        self.loss = loss

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return tracker_arguments(cfg)

    def respond(self, template: Reference, crops: Tensor) -> HeadOutput:
        """Responses to normalised search crops (B, 3, S, S), each with a template of its own."""
        before = self.backbone.template_tokens(*template)
        _, tokens = self.backbone([before], self.backbone.search_tokens(crops))
        return self.head(tokens)

    def losses(self, samples: Sequence[dict]) -> dict[str, Tensor]:
        (template,) = self.training_references(samples)
        ((crops, boxes),) = self.training_searches(samples)
        output = self.respond(template, crops)
        return self.loss(output, SearchTargets(boxes, self.backbone.search_grid, crops.shape[-2:]))

    def react(self, references: Sequence[Reference], crops: Tensor, state: None) -> tuple[HeadOutput, None]:
        return self.respond(*references, crops), None

    def remember(self, reference: Reference) -> Reference:
        return reference

    def look(self, states: Sequence[TrackState], crops: Tensor) -> tuple[HeadOutput, Sequence[Reference]]:
        memories = [state.memory for state in states]
        template = Reference(*(torch.cat(parts) for parts in zip(*memories)))
        return self.respond(template, crops), memories
