"""The masked RPN, the class-agnostic cascade and the ReID head on maps made by hand."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model, build_proposal_generator, build_roi_heads
from detectron2.modeling.roi_heads import build_box_head
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.messages import raises
from helpers.tiny_detector import (
    CHANNELS,
    feature_maps,
    image_list,
    level_shapes,
    objects,
    picture,
    sharpen,
    tiny_config,
    training_input,
)

from effowt_d2.modeling.roi_heads import ReIDHead

# image size, the smallest canvas it fits on, and the second image of a larger batch
IMAGES = [
    ((50, 70), (64, 96)),
    ((33, 96), (64, 96)),
    ((4, 128), (32, 128)),
    ((128, 3), (128, 32)),
    ((1, 1), (32, 32)),
]
LARGE_CANVAS = (128, 160)


def make_heads(**overrides):
    """RPN, cascade and ReID head."""
    torch.manual_seed(0)
    cfg = tiny_config(**overrides)
    rpn = build_proposal_generator(cfg, level_shapes())
    heads, reid = build_roi_heads(cfg, level_shapes()), ReIDHead(cfg, level_shapes())
    sharpen(rpn, heads)
    return rpn.eval(), heads.eval(), reid.eval()


@torch.no_grad()
def run(parts, sizes, canvas, features=None):
    """Proposals, detections and embeddings of the first image."""
    rpn, heads, reid = parts
    images = image_list(sizes, canvas)
    features = feature_maps(sizes, canvas) if features is None else features
    proposals, _ = rpn(images, features)
    detections, _ = heads(images, features, proposals)
    embeddings = reid(features, [x.pred_boxes for x in detections], images.image_sizes)
    return proposals[0], detections[0], embeddings[0]


@pytest.mark.parametrize("size, canvas", IMAGES)
def test_an_image_alone_equals_itself_on_a_larger_canvas(size, canvas):
    parts = make_heads(MODEL__ROI_HEADS__SCORE="geo")
    proposals, detections, embeddings = run(parts, [size], canvas)
    others = run(parts, [size, LARGE_CANVAS], LARGE_CANVAS)
    assert len(proposals) > 0
    close = dict(rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(others[0].proposal_boxes.tensor, proposals.proposal_boxes.tensor, **close)
    torch.testing.assert_close(others[0].objectness_logits, proposals.objectness_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(others[1].pred_boxes.tensor, detections.pred_boxes.tensor, **close)
    torch.testing.assert_close(others[1].scores, detections.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(others[2], embeddings, rtol=1e-5, atol=1e-5)


def test_equal_logits_give_the_same_proposals_on_every_canvas():
    """Ties at the limit of the pre-NMS selection are not decided by where the padding lies."""
    rpn, _, _ = make_heads(MODEL__RPN__PRE_NMS_TOPK_TEST=7)
    torch.nn.init.zeros_(rpn.rpn_head.objectness_logits.weight)
    found = []
    for sizes, canvas in [([(50, 70)], (64, 96)), ([(50, 70), (128, 160)], (128, 160))]:
        proposals, _ = rpn(image_list(sizes, canvas), feature_maps(sizes, canvas))
        found.append(proposals[0].proposal_boxes.tensor)
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)


def test_rpn_loss_does_not_see_padding():
    """With every anchor sampled nothing is left to chance, so the loss must be that of the image alone."""
    rpn, _, _ = make_heads(MODEL__RPN__BATCH_SIZE_PER_IMAGE=100_000, MODEL__RPN__POSITIVE_FRACTION=1.0)
    rpn.train()
    # the first object is at the padding: on the large canvas its best anchor lies there
    target = objects([(40, 30, 70, 50), (5, 5, 20, 20)], (50, 70))
    losses = []
    for canvas in [(64, 96), (128, 160)]:
        with EventStorage(0):
            losses.append(rpn(image_list([(50, 70)], canvas), feature_maps([(50, 70)], canvas), [target])[1])
    for name in losses[0]:
        torch.testing.assert_close(losses[1][name], losses[0][name], rtol=1e-5, atol=1e-7)
    assert losses[0]["loss_rpn_loc"] > 0


@pytest.mark.parametrize("conv_dims", [[-1], [-1, 16]])
def test_rpn_head_is_detectron2s_but_for_the_masks(conv_dims):
    masked, standard = (
        build_proposal_generator(
            tiny_config(
                MODEL__RPN__CONV_DIMS=conv_dims, MODEL__RPN__HEAD_NAME=head, MODEL__PROPOSAL_GENERATOR__NAME=name
            ),
            level_shapes(),
        )
        for name, head in [("MaskedRPN", "MaskedRPNHead"), ("RPN", "StandardRPNHead")]
    )
    standard.load_state_dict(masked.state_dict())
    features = feature_maps([(64, 128)], (64, 128))
    with torch.no_grad():
        ours, theirs = (x.eval()(image_list([(64, 128)], (64, 128)), features, None)[0][0] for x in (masked, standard))
    torch.testing.assert_close(ours.proposal_boxes.tensor, theirs.proposal_boxes.tensor)
    torch.testing.assert_close(ours.objectness_logits, theirs.objectness_logits)


def test_masked_rpn_needs_a_head_that_takes_masks():
    with raises(ValueError, "MODEL.RPN.HEAD_NAME", "MaskedRPNHead", "StandardRPNHead"):
        build_proposal_generator(tiny_config(MODEL__RPN__HEAD_NAME="StandardRPNHead"), level_shapes())


def hand_made_proposals(size) -> Instances:
    proposals = Instances(size)
    proposals.proposal_boxes = Boxes(torch.tensor([[4.0, 4, 30, 30], [30, 8, 60, 40], [2, 30, 40, 48], [8, 8, 8, 8]]))
    proposals.objectness_logits = torch.tensor([3.0, 1.0, -1.0, -3.0])
    return proposals


def scores_by_box(score: str, which=slice(None)) -> dict:
    """Score of each detection, under the box it has whatever the score; of some of the proposals."""
    _, heads, _ = make_heads(MODEL__ROI_HEADS__SCORE=score, MODEL__ROI_HEADS__NMS_THRESH_TEST=1.0)
    size = (50, 70)
    with torch.no_grad():
        (found,), losses = heads(
            image_list([size], (64, 96)), feature_maps([size], (64, 96)), [hand_made_proposals(size)[which]]
        )
    assert losses == {} and not found.pred_classes.any() and found.scores.tolist() == sorted(found.scores, reverse=True)
    return dict(zip((tuple(round(x, 3) for x in box) for box in found.pred_boxes.tensor.tolist()), found.scores))


def test_score_options_follow_each_proposal_through_the_stages():
    cls, objectness, geo = (scores_by_box(score) for score in ("cls", "objectness", "geo"))
    for row, logit in enumerate([3.0, 1.0, -1.0, -3.0]):
        ((box, _),) = scores_by_box("cls", slice(row, row + 1)).items()
        torch.testing.assert_close(objectness[box], torch.tensor(logit).sigmoid())
    assert set(cls) == set(objectness) == set(geo) and len(cls) == 4
    assert len({round(float(x), 4) for x in cls.values()}) == 4
    for box, score in geo.items():
        torch.testing.assert_close(score, (cls[box] * objectness[box]).sqrt())


def test_cls_is_the_mean_of_the_stages_and_boxes_are_the_last():
    _, heads, _ = make_heads(MODEL__ROI_HEADS__NMS_THRESH_TEST=1.0)
    size, features = (64, 96), feature_maps([(64, 96)], (64, 96))
    proposals = [hand_made_proposals(size)[:1]]
    with torch.no_grad():
        (found,), _ = heads(image_list([size], size), features, proposals)
        boxes, probabilities = proposals[0].proposal_boxes, []
        for head, predictor in zip(heads.box_head, heads.box_predictor):
            boxes.clip(size)
            logits, deltas = predictor(head(heads.box_pooler([features[f] for f in heads.box_in_features], [boxes])))
            probabilities.append(logits.softmax(1)[:, 0])
            boxes = Boxes(predictor.box2box_transform.apply_deltas(deltas, boxes.tensor))
        boxes.clip(size)
    torch.testing.assert_close(found.scores, sum(probabilities) / 3)
    torch.testing.assert_close(found.pred_boxes.tensor, boxes.tensor)


@pytest.mark.parametrize(
    "overrides, data",
    [
        ({"MODEL__ROI_HEADS__SCORE": "mean"}, ("MODEL.ROI_HEADS.SCORE", "mean", "cls", "objectness", "geo")),
        ({"MODEL__ROI_HEADS__NUM_CLASSES": 80}, ("MODEL.ROI_HEADS.NUM_CLASSES", 1, 80)),
        ({"MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": False}, ("CLS_AGNOSTIC_BBOX_REG", True, False)),
    ],
)
def test_bad_settings_of_the_cascade(overrides, data):
    with raises(ValueError, *data):
        build_roi_heads(tiny_config(**overrides), level_shapes())


def test_bad_settings_of_the_reid_head():
    with raises(ValueError, "num_groups", 5, 32):
        ReIDHead(tiny_config(MODEL__REID__NUM_GROUPS=5), level_shapes())
    shapes = {**level_shapes(), "p3": ShapeSpec(channels=8, stride=8)}
    with raises(ValueError, "'p3': 8", "'p2': 32"):
        ReIDHead(tiny_config(), shapes)


def test_an_image_without_proposals():
    _, heads, reid = make_heads()
    sizes = [(64, 96), (64, 96)]
    images, features = image_list(sizes, (64, 96)), feature_maps(sizes, (64, 96))
    for counts in [(0, 3), (0, 0)]:
        proposals = [hand_made_proposals((64, 96))[:n] for n in counts]
        with torch.no_grad():
            found, _ = heads(images, features, proposals)
            embeddings = reid(features, [x.pred_boxes for x in found], images.image_sizes)
        assert tuple(len(x) for x in found) == tuple(len(x) for x in embeddings) == counts


@pytest.mark.parametrize("norm", ["LN", "GN", ""])
def test_box_head_norms(norm):
    shape = ShapeSpec(channels=CHANNELS, height=7, width=7)
    head = build_box_head(tiny_config(MODEL__ROI_BOX_HEAD__NORM=norm), shape)
    assert ("conv1.norm.weight" in head.state_dict()) == bool(norm)
    x = torch.randn(2, CHANNELS, 7, 7, generator=torch.Generator().manual_seed(0))
    # a norm that sees all channels takes a factor off; without one it goes through to the ReLU's output
    with torch.no_grad():
        first, scaled = head[0](x), head[0](8 * x)
    assert torch.allclose(first, scaled, atol=1e-3) == bool(norm)


def test_the_heads_work_in_a_plain_detector():
    torch.manual_seed(0)
    model = build_model(tiny_config(MODEL__META_ARCHITECTURE="GeneralizedRCNN"))
    with EventStorage(0):
        losses = model([training_input(0)])
    assert all(value.isfinite() for value in losses.values()) and "loss_box_reg_stage2" in losses
    with torch.no_grad():
        (output,) = model.eval()([{"image": picture(0), "height": 32, "width": 48}])
    assert output["instances"].image_size == (32, 48) and len(output["instances"]) > 0
