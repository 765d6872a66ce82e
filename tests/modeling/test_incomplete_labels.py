"""Images that leave objects unlabelled teach nothing about background; the predicted overlap is learnt near objects."""

import pytest
import torch
from detectron2.modeling import build_model, build_proposal_generator, build_roi_heads
from detectron2.structures import Boxes, Instances, pairwise_iou
from detectron2.utils.events import EventStorage
from helpers.tiny_detector import feature_maps, image_list, level_shapes, objects, sharpen, tiny_config, training_input

from effowt_d2.modeling.layers.labelled_images import LabelledImages, complete_of
from effowt_d2.modeling.roi_heads.quality import QualityOutputLayers

SIZE = (64, 96)
BOXES = [(8, 8, 40, 40), (50, 20, 80, 60)]


def parts(**overrides):
    torch.manual_seed(0)
    cfg = tiny_config(**overrides)
    rpn, heads = build_proposal_generator(cfg, level_shapes()), build_roi_heads(cfg, level_shapes())
    sharpen(rpn, heads)
    return rpn.train(), heads.train()


def images(*complete):
    return LabelledImages(image_list([SIZE] * len(complete), SIZE), complete)


def test_batches_that_do_not_tell_are_complete():
    assert complete_of(image_list([SIZE] * 2, SIZE)) == [True, True]
    assert complete_of(images(True, False)) == [True, False]


def test_the_rpn_has_no_negatives_in_an_incomplete_image():
    rpn, _ = parts()
    seen = []
    rpn.losses = lambda anchors, logits, labels, *rest: seen.append(labels) or {}
    with EventStorage():
        rpn(images(True, False), feature_maps([SIZE] * 2, SIZE), [objects(BOXES, SIZE)] * 2)
    whole, partly = seen[0]
    assert (whole == 0).any() and not (partly == 0).any()
    # positives are sampled as before
    assert (partly == 1).any()


@pytest.mark.parametrize("boxes", [BOXES, []])
def test_the_cascade_sees_labelled_objects_only(boxes):
    rpn, heads = parts()
    features, targets = feature_maps([SIZE] * 2, SIZE), [objects(boxes, SIZE)] * 2
    with EventStorage():
        proposals, _ = rpn(images(True, False), features, targets)
        sampled, losses = heads(images(True, False), features, proposals, targets)
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert (sampled[0].gt_classes == 1).any()
    assert (sampled[1].gt_classes == 0).all() and len(sampled[1]) >= len(boxes)


def test_the_model_hands_it_on():
    torch.manual_seed(0)
    model = build_model(tiny_config())
    sample = training_input(0)
    whole, partly = (
        {**sample, "complete": complete, "reference": {**sample["reference"], "complete": complete}}
        for complete in (True, False)
    )
    losses = []
    for x in (sample, whole, partly):
        torch.manual_seed(1)
        with EventStorage():
            losses.append(model([x])["loss_rpn_cls"].item())
    assert losses[0] == losses[1] != losses[2]


def predictor_and_proposals(heads):
    predictor = heads.box_predictor[-1]
    assert isinstance(predictor, QualityOutputLayers)
    proposals = Instances(SIZE)
    # one on the first object, one that reaches over it, one in the background
    proposals.proposal_boxes = Boxes(torch.tensor([[8.0, 8, 40, 40], [14, 14, 46, 46], [60, 0, 90, 12]]))
    proposals.gt_boxes = Boxes(torch.tensor([BOXES[0]] * 3, dtype=torch.float32))
    proposals.gt_classes = torch.tensor([0, 0, 1])
    return predictor, proposals


def test_the_loss_is_the_cross_entropy_with_the_overlap_near_objects():
    predictor, proposals = predictor_and_proposals(parts(MODEL__ROI_HEADS__SCORE="quality")[1])
    logits = torch.tensor([0.3, -0.2, 4.0], requires_grad=True)
    predictions = (torch.zeros(3, 2), torch.zeros(3, 4), logits)
    with EventStorage():
        loss = predictor.losses(predictions, [proposals])["loss_quality"]
    overlap = pairwise_iou(proposals.proposal_boxes, proposals.gt_boxes)[:, 0]
    assert overlap[0] == 1 and 0.3 < overlap[1] < 1 and overlap[2] == 0
    p = logits.detach()[:2].sigmoid()
    expected = -(overlap[:2] * p.log() + (1 - overlap[:2]) * (1 - p).log()).mean()
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert logits.grad[2] == 0 and (logits.grad[:2] != 0).all()


def test_the_score_is_the_mean_of_both():
    torch.manual_seed(0)
    rpn, heads = (part.eval() for part in parts(MODEL__ROI_HEADS__SCORE="quality"))
    features = feature_maps([SIZE], SIZE)
    torch.nn.init.normal_(heads.box_predictor[-1].quality.weight, std=0.5)
    with torch.no_grad():
        proposals, _ = rpn(image_list([SIZE], SIZE), features)
        maps = [features[name] for name in heads.box_in_features]
        _, (cls,), (quality,) = heads._run_cascade(maps, proposals)
        found, _ = heads(image_list([SIZE], SIZE), features, proposals)
    assert quality.std() > 0.01
    expected = (cls * quality).sqrt()
    assert all(torch.isclose(expected, score).any() for score in found[0].scores)
    # the best score survives the suppression
    assert torch.isclose(found[0].scores.max(), expected.max())
