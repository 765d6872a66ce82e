"""Predicted IoU of a box, trained on labelled objects only, because unlabelled objects give no target.

Letters: R boxes, C channels of a box feature.
"""

import torch
import torch.nn.functional as F
from detectron2.config import configurable
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor, nn

__all__ = ["QualityOutputLayers"]

MIN_IOU = 0.3
"""Least IoU with a labelled object for a box to train the predicted quality."""


class QualityOutputLayers(FastRCNNOutputLayers):
    """Detectron2's box predictor with a third output, the logit of the overlap (IoU) of the box with its object.

    Args:
        **kwargs: those of :class:`detectron2.modeling.roi_heads.FastRCNNOutputLayers`.
    """

    @configurable
    def __init__(self, input_shape, **kwargs):
        super().__init__(input_shape, **kwargs)
        self.quality = nn.Linear(self.bbox_pred.in_features, 1)
        nn.init.normal_(self.quality.weight, std=0.01)
        nn.init.zeros_(self.quality.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(R, C, ...) -> class logits (R, 2), box deltas (R, 4) and quality logits (R,)."""
        x = x.flatten(start_dim=1)
        return *super().forward(x), self.quality(x).squeeze(1)

    def losses(self, predictions: tuple[Tensor, ...], proposals: list[Instances]) -> dict[str, Tensor]:
        """Those of Detectron2, and ``loss_quality``: binary cross entropy with the overlap, where there is some."""
        *plain, logits = predictions
        losses = super().losses(tuple(plain), proposals)
        boxes = torch.cat(self.predict_boxes(predictions, proposals)).detach()
        targets = torch.cat([_boxes_of(x) for x in proposals])
        iou = matched_pairwise_iou(Boxes(boxes), Boxes(targets))
        near = iou > MIN_IOU
        loss = F.binary_cross_entropy_with_logits(logits[near].float(), iou[near].float(), reduction="sum")
        return {**losses, "loss_quality": loss / near.sum().clamp(min=1)}

    def predict_boxes(self, predictions: tuple[Tensor, ...], proposals: list[Instances]) -> list[Tensor]:
        """See :class:`detectron2.modeling.roi_heads.FastRCNNOutputLayers`."""
        return super().predict_boxes(predictions[:2], proposals)

    def predict_probs(self, predictions: tuple[Tensor, ...], proposals: list[Instances]) -> list[Tensor]:
        """See :class:`detectron2.modeling.roi_heads.FastRCNNOutputLayers`."""
        return super().predict_probs(predictions[:2], proposals)

    def predict_quality(self, predictions: tuple[Tensor, ...], proposals: list[Instances]) -> list[Tensor]:
        """Per image (Ri,) the predicted overlap in 0..1."""
        return list(predictions[2].float().sigmoid().split([len(x) for x in proposals]))


def _boxes_of(proposals: Instances) -> Tensor:
    # without a labelled object there are none, and an empty box overlaps nothing
    if proposals.has("gt_boxes"):
        return proposals.gt_boxes.tensor
    return torch.zeros_like(proposals.proposal_boxes.tensor)
