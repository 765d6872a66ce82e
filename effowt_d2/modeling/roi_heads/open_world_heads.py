"""Class-agnostic cascade heads: objectness and box.

Letters: B images, Ri proposals of image i.
"""

from collections.abc import Sequence

import torch
from detectron2.config import configurable
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY, CascadeROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Instances, pairwise_iou
from torch import Tensor

from effowt_d2.modeling.layers.labelled_images import complete_of
from effowt_d2.utils.arguments import bad_argument, config_keys

from .edges import poolable_maps
from .quality import QualityOutputLayers

__all__ = ["SCORES", "OpenWorldROIHeads"]

# detection score from the mean foreground probability of the stages, the proposal's objectness probability and the
# predicted overlap of the last stage's box with its object
SCORES = {
    "cls": lambda cls, objectness, quality: cls,
    "objectness": lambda cls, objectness, quality: objectness,
    "geo": lambda cls, objectness, quality: (cls * objectness).sqrt(),
    "quality": lambda cls, objectness, quality: (cls * quality).sqrt(),
}
WITH_QUALITY = ("quality",)


@ROI_HEADS_REGISTRY.register()
class OpenWorldROIHeads(CascadeROIHeads):
    """Detectron2's cascade for the single class ``object``, with masked padding.

    The score is made of the mean over the stages, the boxes are those of the last stage.

    Args:
        score: ``cls``, ``objectness`` (of the proposal), ``geo``, their geometric mean, or ``quality``, that of ``cls``
            and the predicted overlap of the box with its object, which is learnt then.
        feature_strides: pixels per cell of each input level.
        **kwargs: those of :class:`detectron2.modeling.roi_heads.CascadeROIHeads`.

    Raises:
        ValueError: unknown score, more than one class, or box regression by class.
    """

    @configurable
    def __init__(self, *, feature_strides: Sequence[int], score: str = "cls", **kwargs):
        super().__init__(**kwargs)
        _check(score, self.num_classes)
        self.score = score
        self.feature_strides = list(feature_strides)

    @classmethod
    def from_config(cls, cfg, input_shape):
        heads = cfg.MODEL.ROI_HEADS
        with config_keys("MODEL.ROI_HEADS"):
            _check(heads.SCORE, heads.NUM_CLASSES)
        if not cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG:
            raise ValueError("OpenWorldROIHeads needs MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True, got False")
        ret = super().from_config(cfg, input_shape)
        ret["score"] = heads.SCORE
        ret["feature_strides"] = [input_shape[f].stride for f in ret["box_in_features"]]
        return ret

    @classmethod
    def _init_box_head(cls, cfg, input_shape):
        ret = super()._init_box_head(cfg, input_shape)
        if cfg.MODEL.ROI_HEADS.SCORE in WITH_QUALITY:
            # the boxes that come out are the last stage's
            transform = ret["box_predictors"][-1].box2box_transform
            shape = ret["box_heads"][-1].output_shape
            ret["box_predictors"][-1] = QualityOutputLayers(cfg, shape, box2box_transform=transform)
        return ret

    def forward(self, images, features: dict[str, Tensor], proposals: list[Instances], targets=None):
        """
        Args:
            images: the ImageList of the batch; its ``image_sizes`` are read, and ``complete`` of :class:`LabelledImages`.
            features: (B, C, Hi, Wi) maps by name.
            proposals: per image ``proposal_boxes`` (Ri, 4) and ``objectness_logits`` (Ri,).
            targets: per image ``gt_boxes`` and ``gt_classes``, in training.

        Returns:
            In training the sampled proposals and the losses, otherwise per image Instances with ``pred_boxes``,
            ``scores`` and ``pred_classes`` (all 0), best first, and no losses.
        """
        maps = poolable_maps(features, self.box_in_features, self.feature_strides, images.image_sizes)
        if self.training:
            complete = complete_of(images)
            proposals = [
                x if whole else self._near(x, target) for x, target, whole in zip(proposals, targets, complete)
            ]
        return super().forward(images, {**features, **dict(zip(self.box_in_features, maps))}, proposals, targets)

    def _near(self, proposals: Instances, targets: Instances) -> Instances:
        """The proposals that the first stage takes for labelled objects; the others are unlabelled."""
        overlap = pairwise_iou(targets.gt_boxes, proposals.proposal_boxes)
        _, labels = self.proposal_matcher(overlap)
        return proposals[labels == 1]

    def _forward_box(self, features: dict[str, Tensor], proposals: list[Instances], targets=None):
        if self.training:
            return super()._forward_box(features, proposals, targets)
        objectness = [x.objectness_logits.float().sigmoid() for x in proposals]
        boxes, cls, quality = self._run_cascade([features[f] for f in self.box_in_features], proposals)
        scores = [SCORES[self.score](*parts) for parts in zip(cls, objectness, quality)]
        predictor = self.box_predictor[-1]
        instances, _ = fast_rcnn_inference(
            boxes,
            # a second column, for the background, which that function takes off
            [torch.stack([s, 1 - s], dim=1) for s in scores],
            [x.image_size for x in proposals],
            predictor.test_score_thresh,
            predictor.test_nms_thresh,
            predictor.test_topk_per_image,
        )
        return instances

    def _run_cascade(self, maps: list[Tensor], proposals: list[Instances]) -> tuple[list[Tensor], ...]:
        """Per image the last boxes (Ri, 4), the mean foreground probability (Ri,) and the predicted overlap (Ri,), which
        is 1 where it is not learnt; one row per proposal."""
        image_sizes = [x.image_size for x in proposals]
        boxes, cls = None, [0.0] * len(proposals)
        for stage, predictor in enumerate(self.box_predictor):
            if stage > 0:
                # outside training this keeps every row, so that row k stays proposal k
                proposals = self._create_proposals_from_boxes(boxes, image_sizes)
            predictions = self._run_stage(maps, proposals, stage)
            boxes = predictor.predict_boxes(predictions, proposals)
            probabilities = predictor.predict_probs(predictions, proposals)
            cls = [total + p[:, 0].float() / self.num_cascade_stages for total, p in zip(cls, probabilities)]
        quality = [torch.ones_like(c) for c in cls]
        if isinstance(predictor, QualityOutputLayers):
            quality = predictor.predict_quality(predictions, proposals)
        return list(boxes), cls, quality


def _check(score: str, num_classes: int) -> None:
    if score not in SCORES:
        raise bad_argument("score", f"must be one of {list(SCORES)}, got {score!r}")
    if num_classes != 1:
        raise bad_argument("num_classes", f"must be 1, for the single class `object`, got {num_classes}")
