"""A region proposal network with masked padding.

Letters: B images, Hi and Wi the map of level i, A anchors per cell, R = sum of Hi * Wi * A anchors over the levels.
"""

from collections.abc import Sequence

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY, RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.modeling.proposal_generator.rpn import RPN_HEAD_REGISTRY, StandardRPNHead
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from effowt_d2.modeling.layers.labelled_images import complete_of
from effowt_d2.modeling.layers.masks import apply_mask
from effowt_d2.utils.arguments import bad_argument, config_keys

from .level_masks import level_masks

__all__ = ["MaskedRPN", "MaskedRPNHead"]


@RPN_HEAD_REGISTRY.register()
class MaskedRPNHead(StandardRPNHead):
    """Detectron2's RPN head, with the same parameters, that sees zeros in place of padded cells."""

    def forward(self, features: list[Tensor], masks: Sequence[Tensor | None] | None = None):
        """
        Args:
            features: (B, C, Hi, Wi) per level.
            masks: (B, Hi, Wi) bool per level, None for a level without padding.

        Returns:
            Logits (B, A, Hi, Wi) and deltas (B, 4 A, Hi, Wi) per level; meaningless at padded cells.
        """
        convs = self.conv if isinstance(self.conv, nn.Sequential) else [self.conv]
        logits, deltas = [], []
        for x, mask in zip(features, masks or [None] * len(features)):
            for conv in convs:
                x = conv(apply_mask(x, mask))
            logits.append(self.objectness_logits(x))
            deltas.append(self.anchor_deltas(x))
        return logits, deltas


def _check_head(head: nn.Module) -> None:
    if not isinstance(head, MaskedRPNHead):
        raise bad_argument("head", f"of MaskedRPN must be a MaskedRPNHead, got {type(head).__name__}")


@PROPOSAL_GENERATOR_REGISTRY.register()
class MaskedRPN(RPN):
    """Detectron2's RPN without the anchors of padded cells.

    Those anchors have no image to judge by: they are never labelled, sampled or proposed. What is left of an image
    is the same on every canvas, in the same order, so ties are resolved alike too.

    Args:
        feature_strides: pixels per cell of each input level.
        **kwargs: those of :class:`detectron2.modeling.proposal_generator.RPN`.

    Raises:
        ValueError: the head doesn't take masks.
    """

    @configurable
    def __init__(self, *, feature_strides: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        _check_head(self.rpn_head)
        self.feature_strides = list(feature_strides)

    @classmethod
    def from_config(cls, cfg, input_shape: dict[str, ShapeSpec]):
        ret = super().from_config(cfg, input_shape)
        with config_keys("MODEL.RPN", head="MODEL.RPN.HEAD_NAME"):
            _check_head(ret["head"])
        ret["feature_strides"] = [input_shape[f].stride for f in ret["in_features"]]
        return ret

    def forward(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """
        Args:
            images: the batch; its ``image_sizes`` are read, and ``complete`` of :class:`LabelledImages`: where it is
                false, no anchor is negative.
            features: (B, C, Hi, Wi) maps by name.
            gt_instances: ``gt_boxes`` of each image, in training.

        Returns:
            Per image Instances with ``proposal_boxes`` and ``objectness_logits``, best first; and the losses.
        """
        maps = [features[f] for f in self.in_features]
        masks = level_masks(maps, self.feature_strides, images.image_sizes)
        anchors = self.anchor_generator(maps)
        logits, deltas = self.rpn_head(maps, masks)
        valid = [_anchor_mask(x, mask) for x, mask in zip(logits, masks)]
        logits = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]
        deltas = [_flat_deltas(x, self.anchor_generator.box_dim) for x in deltas]
        losses = {}
        if self.training:
            if gt_instances is None:
                raise ValueError("MaskedRPN needs gt_instances in training")
            labels, boxes = self._label_valid_anchors(Boxes.cat(anchors), torch.cat(valid, dim=1), gt_instances)
            labels = [
                x if whole else x.masked_fill(x == 0, -1) for x, whole in zip(labels, complete_of(images), strict=True)
            ]
            losses = self.losses(anchors, logits, labels, deltas, boxes)
        return self._propose(anchors, logits, deltas, valid, images.image_sizes), losses

    @torch.no_grad()
    def _label_valid_anchors(
        self, anchors: Boxes, valid: Tensor, gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Labels (R,) and matched boxes (R, 4) of each image; anchors of padded cells are ignored (-1).

        They are taken out before the matching: the best anchor of a box at the border must be one that counts.
        """
        labels, boxes = [], []
        for keep, target in zip(valid, gt_instances):
            (kept_labels,), (kept_boxes,) = self.label_and_sample_anchors([anchors[keep]], [target])
            labels.append(kept_labels.new_full(keep.shape, -1).masked_scatter(keep, kept_labels))
            boxes.append(torch.zeros_like(anchors.tensor).masked_scatter(keep[:, None], kept_boxes))
        return labels, boxes

    @torch.no_grad()
    def _propose(
        self,
        anchors: list[Boxes],
        logits: list[Tensor],
        deltas: list[Tensor],
        valid: list[Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        boxes = self._decode_proposals(anchors, deltas)
        proposals = []
        for i, image_size in enumerate(image_sizes):
            proposals += find_top_rpn_proposals(
                [x[i, keep[i]][None] for x, keep in zip(boxes, valid)],
                [x[i, keep[i]][None] for x, keep in zip(logits, valid)],
                [image_size],
                self.nms_thresh,
                self.pre_nms_topk[self.training],
                self.post_nms_topk[self.training],
                self.min_box_size,
                self.training,
            )
        return proposals


def _anchor_mask(logits: Tensor, mask: Tensor | None) -> Tensor:
    """(B, Hi * Wi * A) bool, true for anchors of valid cells; logits (B, A, Hi, Wi), mask (B, Hi, Wi) or None."""
    b, per_cell, height, width = logits.shape
    if mask is None:
        return logits.new_ones((b, height * width * per_cell), dtype=torch.bool)
    return mask.flatten(1).repeat_interleave(per_cell, dim=1)


def _flat_deltas(deltas: Tensor, box_dim: int) -> Tensor:
    """(B, A * box_dim, Hi, Wi) -> (B, Hi * Wi * A, box_dim)."""
    b, _, height, width = deltas.shape
    return deltas.view(b, -1, box_dim, height, width).permute(0, 3, 4, 1, 2).flatten(1, -2)
