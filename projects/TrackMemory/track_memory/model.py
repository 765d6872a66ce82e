"""An open-world tracker whose tracks have a learned memory."""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor

from effowt_d2.modeling.meta_arch import OpenWorldTracker
from effowt_d2.modeling.roi_heads import ReIDPair
from effowt_d2.tracking import Looks, State, TrackState
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_number

from .memories import MEMORIES

__all__ = ["MemoryTracker"]


@META_ARCH_REGISTRY.register()
class MemoryTracker(OpenWorldTracker):
    """An open-world tracker as it was trained, and a memory of tracks that is trained on clips; the tracker is frozen.

    Args:
        memory: what tracks remember besides the moving average.
        memory_weight: weight of the similarity to it in the association.
        **kwargs: see :class:`effowt_d2.modeling.meta_arch.OpenWorldTracker`.
    """

    @configurable
    def __init__(self, *, memory: TrackState, memory_weight: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.requires_grad_(False)
        self.memory = memory
        self.tracker.remember_by(memory, memory_weight)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        made, node = super().from_config(cfg), cfg.MODEL.TRACK_MEMORY
        with config_keys("MODEL.TRACK_MEMORY", st_pool="MODEL.TRACK_MEMORY.POOL"):
            check_number("weight", node.WEIGHT, high=1.0)
            made["memory"] = MEMORIES.get(node.KIND)(cfg, made["reid_head"])
        return {**made, "memory_weight": node.WEIGHT}

    def train(self, mode: bool = True) -> "MemoryTracker":
        """The frozen tracker stays in evaluation mode, so that it gives what it gives in tracking."""
        super().train(False)
        self.training = mode
        self.memory.train(mode)
        return self

    def forward(self, batched_inputs: list[dict]):
        """
        Args:
            batched_inputs: in training clips: dicts with ``frames``, each a list of dicts with ``image`` and ``instances``
                (``gt_boxes``, ``gt_ids``, the same for the same object of a clip); otherwise see :meth:`inference`.

        Returns:
            In training a dict of losses.
        """
        if not self.training:
            return self.inference(batched_inputs)
        losses = self.reid_loss(self._pairs([clip["frames"] for clip in batched_inputs]))
        # every process has the same graph, also where its clips show no object twice
        return {name: loss + 0 * sum(p.sum() for p in self.memory.parameters()) for name, loss in losses.items()}

    def _pairs(self, clips: list[list[dict]]) -> list[ReIDPair]:
        """What tracks remember before each frame but the first, and what is seen in it; tracks of all clips together."""
        tracks: dict[tuple[int, int], int] = {}
        state, pairs = None, []
        for views in zip(*clips):
            looks, keys = self._seen(views)
            device = looks.embeddings.device
            # a track's number is its row in the state
            numbers = torch.tensor(
                [tracks.setdefault(key, len(tracks)) for key in keys], dtype=torch.int64, device=device
            )
            before = looks.embeddings[:0] if state is None else self.memory.embedding(state)
            pairs.append(ReIDPair(before, torch.arange(len(before), device=device), looks.embeddings, numbers))
            state = self._remember(state, looks, numbers)
        return pairs

    def _seen(self, views: tuple[dict, ...]) -> tuple[Looks, list[tuple[int, int]]]:
        """The labelled objects of a frame of each clip: their looks, and (clip, object) of each."""
        with torch.no_grad():
            images = self.preprocess_image(list(views))
            boxes = [view["instances"].gt_boxes.to(self.device) for view in views]
            looks = self.reid_head.looks(self._features(images), boxes, images.image_sizes)
        keys = [(clip, number) for clip, view in enumerate(views) for number in view["instances"].gt_ids.tolist()]
        return Looks(*(torch.cat(parts) for parts in zip(*looks))), keys

    def _remember(self, state: State | None, looks: Looks, numbers: Tensor) -> State | None:
        """The states of all tracks after a frame: known ones go on, others begin."""
        known = numbers < (0 if state is None else len(state[0]))
        if known.any():
            rows = numbers[known]
            stepped = self.memory.step(tuple(part[rows] for part in state), looks.rows(known))
            state = tuple(part.index_copy(0, rows, change) for part, change in zip(state, stepped))
        if known.all():
            return state
        begun = self.memory.init(looks.rows(~known))
        return begun if state is None else tuple(torch.cat(parts) for parts in zip(state, begun))

    def _add_looks(
        self, results: list[Instances], features: dict[str, Tensor], image_sizes: list[tuple[int, int]]
    ) -> None:
        looks = self.reid_head.looks(features, [x.pred_boxes for x in results], image_sizes)
        for result, seen in zip(results, looks):
            result.embeddings, result.tokens = seen.embeddings, seen.tokens
