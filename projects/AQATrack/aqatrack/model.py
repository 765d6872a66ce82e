"""AQATrack (arXiv 2403.10574): every frame leaves a query that stands for the target, and the decoder of the next frame
looks back at the last few of them.

Shapes: B targets, C channels, K queries, a search grid of H x W.

    template ─┐
              ├─▶ tower ─▶ tokens ─▶ decoder ─▶ query q ─▶ queue
    search  ──┘       └──▶ search features F ─▶ F * (F · q) ─▶ head
"""

import os
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from sot.build import centre_tracker_arguments
from sot.centre_tracker import CentreTracker
from sot.modulation import ResponseModulation
from sot.released_nets import centre_names, fill
from sot.state import Reference
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument, config_keys

from .decoder import QueryQueue, TemporalQueryDecoder
from .released import own_name

__all__ = ["AQATrack", "Carried", "Reading"]


class Carried(NamedTuple):
    """What a frame leaves to the next: tokens of the template (B, n, C), queries (B, K, C), and how many there are (B,)."""

    template: Tensor
    queue: Tensor
    filled: Tensor


class Reading(NamedTuple):
    """Of one frame: the query (B, C), the response map (B, H, W), and what the head looks at (B, C, H, W)."""

    query: Tensor
    response: Tensor
    fused: Tensor


@META_ARCH_REGISTRY.register()
class AQATrack(CentreTracker):
    """Carries the template's tokens and a queue of queries.

    Args:
        decoder: makes a frame's query.
        queue: which queries are kept and looked back at.
        fusion: how a query reads out the search tokens.
        **tracker: see :class:`sot.centre_tracker.CentreTracker`.
    """

    @configurable
    def __init__(self, *, decoder: TemporalQueryDecoder, queue: QueryQueue, fusion: ResponseModulation, **tracker: Any):
        super().__init__(**tracker)
        self.decoder = decoder
        self.queue = queue
        self.fusion = fusion

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node, common = cfg.MODEL.AQATRACK, centre_tracker_arguments(cfg)
        if node.HISTORY_SELF == "train_only" and node.HISTORY_LEN != cfg.INPUT.SOT.SEARCHES - 1:
            raise ValueError(
                f"MODEL.AQATRACK.HISTORY_LEN: with HISTORY_SELF train_only it must be INPUT.SOT.SEARCHES - 1, "
                f"{cfg.INPUT.SOT.SEARCHES - 1}, as many as training sees; got {node.HISTORY_LEN}"
            )
        with config_keys("MODEL.AQATRACK", length="MODEL.AQATRACK.HISTORY_LEN", own="MODEL.AQATRACK.HISTORY_SELF"):
            queue = QueryQueue(length=node.HISTORY_LEN, own=node.HISTORY_SELF)
        keys = {"layers": "DEC_LAYERS", "heads": "NUM_HEADS", "hidden": "DIM_FEEDFORWARD", "scale": "RESPONSE_SCALE"}
        with config_keys("MODEL.AQATRACK", **{name: f"MODEL.AQATRACK.{key}" for name, key in keys.items()}):
            decoder = TemporalQueryDecoder(
                channels=common["backbone"].tower.embed_dim,
                layers=node.DEC_LAYERS,
                heads=node.NUM_HEADS,
                hidden=node.DIM_FEEDFORWARD,
                dropout=node.DROPOUT,
            )
            fusion = ResponseModulation(scale=node.RESPONSE_SCALE)
        return {**common, "decoder": decoder, "queue": queue, "fusion": fusion}

    def begin(self, reference: Reference) -> Carried:
        tokens = self.backbone.template_tokens(*reference)
        return Carried(tokens.float(), *self.queue.empty(len(tokens), tokens.shape[-1], tokens.device))

    def read(self, carried: Carried, crops: Tensor) -> tuple[Tensor, Carried]:
        reading = self.ask(carried, crops)
        queue = self.queue.push(carried.queue, carried.filled, reading.query)
        return reading.fused, Carried(carried.template, *queue)

    def ask(self, carried: Carried, crops: Tensor) -> Reading:
        """What :meth:`read` finds in a frame, before the queue moves on.

        Raises:
            ValueError: what is carried is of another number of targets.
        """
        if len(carried.template) != len(crops):
            raise bad_argument("carried", f"is of {len(carried.template)} targets, there are crops of {len(crops)}")
        before, search = self.backbone([carried.template], self.backbone.search_tokens(crops))
        # products of normed tokens reach the number of channels, which float16 has no room for
        with torch.autocast(crops.device.type, enabled=False):
            before, search = before.float(), search.float()
            history = self.queue.history(carried.queue, carried.filled, self.training)
            query = self.decoder(history, torch.cat([before, search.flatten(1, 2)], dim=1))
            response, fused = self.fusion(search, query[:, None])
        return Reading(query, response, fused.permute(0, 3, 1, 2))

    def load_released(self, file: str | os.PathLike) -> None:
        """Take the weights of a released checkpoint; see :func:`sot.released_nets.fill`."""
        fill(self, file, lambda state: centre_names(state, self.backbone.tower, own_name))
