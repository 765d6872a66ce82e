"""Which RoIs of a view the ReID loss compares."""

import torch
from detectron2.config import configurable
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count, check_number

__all__ = ["BACKGROUND", "ReIDSampler"]

# the id of RoIs on no object
BACKGROUND = -1


class ReIDSampler:
    """Draws RoIs among the proposals and ground-truth boxes of one view.

    A RoI between the two overlaps, or on an object whose id is unknown, is never drawn: what it shows is in doubt.

    Args:
        batch_size: RoIs at most.
        positive_fraction: fraction of positives at most.
        negatives_per_positive: negatives drawn per drawn positive, at most.
        positive_iou: a RoI overlapping an object by this much or more shows that object.
        negative_iou: a RoI overlapping every object by less is background.

    Raises:
        ValueError: a number out of range, or ``negative_iou`` is above ``positive_iou``.
    """

    @configurable
    def __init__(
        self,
        *,
        batch_size: int = 256,
        positive_fraction: float = 0.5,
        negatives_per_positive: float = 3.0,
        positive_iou: float = 0.7,
        negative_iou: float = 0.3,
    ):
        self.batch_size = check_count("batch_size", batch_size)
        self.positive_fraction = check_number("positive_fraction", positive_fraction, high=1.0)
        self.negatives_per_positive = check_number("negatives_per_positive", negatives_per_positive)
        self.positive_iou = check_number("positive_iou", positive_iou, high=1.0)
        self.negative_iou = check_number("negative_iou", negative_iou, high=1.0)
        if negative_iou > positive_iou:
            raise bad_argument("negative_iou", f"must be at most positive_iou, {positive_iou}, got {negative_iou}")

    @classmethod
    def from_config(cls, cfg):
        reid = cfg.MODEL.REID
        return {
            "batch_size": reid.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": reid.POSITIVE_FRACTION,
            "negatives_per_positive": reid.NEGATIVES_PER_POSITIVE,
            "positive_iou": reid.POSITIVE_IOU,
            "negative_iou": reid.NEGATIVE_IOU,
        }

    @torch.no_grad()
    def __call__(self, proposals: Instances, targets: Instances) -> tuple[Boxes, Tensor]:
        """
        Args:
            proposals: ``proposal_boxes`` of the view.
            targets: its ``gt_boxes`` and ``gt_ids`` (int64, -1: unknown), maybe none.

        Returns:
            R boxes and their ids (R,) int64: positives first, then background.
        """
        boxes = Boxes.cat([targets.gt_boxes, proposals.proposal_boxes])
        if len(targets) == 0:
            return boxes[:0], targets.gt_ids[:0]
        overlap, nearest = pairwise_iou(targets.gt_boxes, boxes).max(dim=0)
        ids = targets.gt_ids[nearest]
        positives = _draw((overlap >= self.positive_iou) & (ids >= 0), int(self.batch_size * self.positive_fraction))
        limit = min(self.batch_size - len(positives), int(self.negatives_per_positive * len(positives)))
        negatives = _draw(overlap < self.negative_iou, limit)
        ids = torch.cat([ids[positives], torch.full_like(negatives, BACKGROUND)])
        return boxes[torch.cat([positives, negatives])], ids


def _draw(candidates: Tensor, count: int) -> Tensor:
    """Indices of at most ``count`` true entries of a (N,) mask, at random."""
    indices = candidates.nonzero()[:, 0]
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]
