"""SPMTrack (arXiv 2503.18338): a frozen ViT with token-wise mixtures of low-rank updates, several references, and a state
that is carried through time.

Shapes: B samples or targets, R references, d channels, a search grid of H x W.

    state token ─┐
    references ──┼─▶ tower ─▶ state h, references, search features F ─▶ F * (F · h) ─▶ head
    search ──────┘                │
                                  └─▶ the next frame's state token, without a gradient
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from sot.build import tracker_arguments
from sot.crops import channel_means
from sot.head import AnchorFreeHead, HeadOutput
from sot.losses import OverlapLoss, SearchTargets
from sot.maps import is_valid
from sot.modulation import ResponseModulation
from sot.state import Reference, TrackState
from sot.tracker import SingleObjectTracker
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument, config_keys

from .memory import Memory, MemoryPolicy
from .readout import BoxWarmup, StateToken

__all__ = ["Response", "SPMTrack"]


class Response(NamedTuple):
    """What one pass gives: the head's output, the state (B, 1, d) with its gradient, and the response map (B, H, W)."""

    output: HeadOutput
    state: Tensor
    map: Tensor


@META_ARCH_REGISTRY.register()
class SPMTrack(SingleObjectTracker):
    """Looks at references of several frames and at a state token; both make up a video's memory.

    Args:
        head: tokens to scores and boxes.
        loss: of its output in one frame; those of the frames of a clip are added up.
        memory: which frames are kept and looked at.
        modulation: how the state reads out the search tokens.
        box_warmup: of the loss of the boxes.
        **tracker: see :class:`SingleObjectTracker`.
    """

    @configurable
    def __init__(
        self,
        *,
        head: AnchorFreeHead,
        loss: OverlapLoss,
        memory: MemoryPolicy,
        modulation: ResponseModulation,
        box_warmup: BoxWarmup,
        **tracker: Any,
    ):
        super().__init__(**tracker)
        self.head = head
        self.loss = loss
        self.memory = memory
        self.modulation = modulation
        self.box_warmup = box_warmup
        self.token = StateToken(channels=self.backbone.tower.embed_dim)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        node = cfg.MODEL.SPMTRACK
        with config_keys("MODEL.SPMTRACK", references="INPUT.SOT.REFERENCES", cap="MODEL.SPMTRACK.MEMORY_CAP"):
            memory = MemoryPolicy(
                references=cfg.INPUT.SOT.REFERENCES,
                history=node.HISTORY,
                cap=node.MEMORY_CAP,
                admit_score=node.ADMIT_SCORE,
            )
        with config_keys("MODEL.SPMTRACK", scale="MODEL.SPMTRACK.RESPONSE_SCALE"):
            modulation = ResponseModulation(scale=node.RESPONSE_SCALE)
        keys = {"iterations": "MODEL.SPMTRACK.BOX_WARMUP", "factor": "MODEL.SPMTRACK.BOX_WARMUP_FACTOR"}
        with config_keys("MODEL.SPMTRACK", **keys):
            warmup = BoxWarmup(iterations=node.BOX_WARMUP, factor=node.BOX_WARMUP_FACTOR)
        return {**tracker_arguments(cfg), "memory": memory, "modulation": modulation, "box_warmup": warmup}

    @property
    def references_seen(self) -> int:
        return self.memory.references

    def first_state(self, targets: int) -> Tensor:
        """The state (B, 1, d) before the first frame: zeros."""
        return self.token.query.new_zeros(targets, 1, self.backbone.tower.embed_dim)

    def respond(self, references: Sequence[Reference], crops: Tensor, state: Tensor) -> Response:
        """One pass: training and tracking make it alike.

        Args:
            references: R, of B targets each.
            crops: (B, 3, S, S) normalised search crops.
            state: (B, 1, d), that of the frame before.

        Raises:
            ValueError: another number of references, or a state of another batch or width.
        """
        self._check(references, crops, state)
        before = [self.token(state)] + [self.backbone.template_tokens(*reference) for reference in references]
        before, tokens = self.backbone(before, self.backbone.search_tokens(crops))
        # the products can reach the number of channels, which float16 has no room for
        with torch.autocast(crops.device.type, enabled=False):
            after, tokens = before[:, :1].float(), tokens.float()
            response, modulated = self.modulation(tokens, after)
            output = self.head(modulated)
        return Response(output, after, response)

    def react(self, references: Sequence[Reference], crops: Tensor, state: Tensor) -> tuple[HeadOutput, Tensor]:
        response = self.respond(references, crops, state)
        return response.output, response.state

    def _check(self, references: Sequence[Reference], crops: Tensor, state: Tensor) -> None:
        wanted = (crops.shape[0], 1, self.backbone.tower.embed_dim)
        if tuple(state.shape) != wanted:
            raise bad_argument("state", f"must have the shape {wanted}, got {tuple(state.shape)}")
        if len(references) != self.memory.references:
            raise bad_argument(
                "references", f"must be {self.memory.references} (INPUT.SOT.REFERENCES), got {len(references)}"
            )

    def losses(self, samples: Sequence[dict]) -> dict[str, Tensor]:
        references = self.training_references(samples)
        state, total = self.first_state(len(samples)), {}
        for crops, boxes in self.training_searches(samples):
            response = self.respond(references, crops, state)
            targets = SearchTargets(boxes, self.backbone.search_grid, crops.shape[-2:])
            for name, loss in self.loss(response.output, targets).items():
                total[name] = total.get(name, 0) + loss
            state = response.state.detach()
        return {**total, "loss_box": self.box_warmup() * total["loss_box"]}

    def remember(self, reference: Reference) -> Memory:
        count = len(reference.crops)
        return Memory({0: reference}, self.first_state(count), torch.zeros(count, dtype=torch.int64))

    def look(self, states: Sequence[TrackState], crops: Tensor) -> tuple[HeadOutput, Sequence[Memory]]:
        per_video = [self.memory.look_up(state.memory, state.frame + 1) for state in states]
        references = [Reference(*(torch.cat(parts) for parts in zip(*videos))) for videos in zip(*per_video)]
        response = self.respond(references, crops, torch.cat([state.memory.state for state in states]))
        parts = response.state.split([len(state) for state in states])
        return response.output, [Memory(s.memory.entries, part, s.memory.skipped) for s, part in zip(states, parts)]

    def admit(self, state: TrackState, image: Tensor, tracks: Instances) -> Memory:
        good = is_valid(tracks.pred_boxes.tensor) & (tracks.scores >= self.memory.admit_score)
        reference = self.refer(image, state.boxes, channel_means(image))
        return self.memory.add(state.memory, state.frame, reference, good)
