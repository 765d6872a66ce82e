"""The whole model on a small ResNet-FPN: two-view training, and tracking through videos."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.backbone import Backbone
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.messages import raises
from helpers.tiny_detector import picture, sharpen, tiny_config, training_input

from effowt_d2.modeling.meta_arch import RunningVideo

REID_LOSSES = {"loss_reid", "loss_reid_aux"}


def make_model(**overrides):
    torch.manual_seed(0)
    return build_model(tiny_config(**overrides))


def losses_of(model, inputs) -> dict:
    torch.manual_seed(1)
    with EventStorage(0):
        losses = model.train()(inputs)
    sum(losses.values()).backward()
    return {name: value.item() for name, value in losses.items()}


def without_reference(x: dict) -> dict:
    return {key: value for key, value in x.items() if key != "reference"}


@pytest.fixture(scope="module")
def model():
    model = make_model().eval()
    sharpen(model.proposal_generator, model.roi_heads)
    return model


def test_training_reaches_every_parameter():
    model = make_model()
    losses = losses_of(model, [training_input(0), training_input(1)])
    assert all(value == value for value in losses.values()) and losses["loss_reid"] > 0 and losses["loss_reid_aux"] > 0
    untouched = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert untouched == []


def test_losses_of_both_views():
    """The detector learns from the reference as well: an object there alone moves its loss."""
    model = make_model()
    x = training_input(0)
    emptied = {**x, "reference": {**x["reference"], "instances": x["reference"]["instances"][:0]}}
    both, one = losses_of(model, [x]), losses_of(model, [emptied])
    assert one["loss_rpn_loc"] < both["loss_rpn_loc"] and one["loss_reid"] == 0


def test_inputs_without_reference_train_detection_only():
    model = make_model()
    x = training_input(0)
    alone = losses_of(model, [without_reference(x)])
    assert all(alone[name] == 0 for name in REID_LOSSES) and alone["loss_cls_stage0"] > 0
    grads = [p.grad for p in model.reid_head.parameters()]
    assert all(g is not None and not g.any() for g in grads)
    mixed = losses_of(model, [without_reference(x), training_input(1)])
    assert set(mixed) == set(alone) and mixed["loss_reid"] > 0


def test_unknown_ids_and_swapped_ids():
    """Ids steer the ReID loss: none of them known, no loss; the objects' ids exchanged, another loss."""
    model = make_model()
    right = training_input(0)
    wrong = {**right, "reference": {**right["reference"], "instances": right["reference"]["instances"][[0, 1]]}}
    wrong["reference"]["instances"].gt_ids = torch.tensor([1, 0])
    unknown = training_input(0, ids=[-1, -1])
    assert all(losses_of(model, [unknown])[name] == 0 for name in REID_LOSSES)
    assert losses_of(model, [wrong])["loss_reid"] != losses_of(model, [right])["loss_reid"] > 0


@pytest.mark.parametrize(
    "inputs",
    [
        [training_input(0, boxes=())],
        [training_input(0, boxes=()), training_input(1)],
        [training_input(0, boxes=((10, 10, 11, 11), (50, 30, 51, 31)))],
        [training_input(0, boxes=((2, 2, 120, 3),), height=8, width=128)],
        [training_input(0, boxes=((0, 0, 2, 90),), height=100, width=2), training_input(1)],
    ],
    ids=["no object", "one view without", "1-pixel objects", "wide", "narrow, padded"],
)
def test_odd_images_train_and_track(inputs):
    model = make_model()
    assert all(abs(value) < 100 for value in losses_of(model, inputs).values())
    for p in model.parameters():
        assert p.grad is None or p.grad.isfinite().all()
    frames = [dict(image=x["image"], video_id=0, frame_index=i) for i, x in enumerate(inputs)]
    with torch.no_grad():
        for x, output in zip(inputs, RunningVideo(model.eval())(frames)):
            found = output["instances"]
            assert found.image_size == tuple(x["image"].shape[1:]) and len(found.track_ids) == len(found)


def video(video_id, seeds, start: int = 0):
    return [
        dict(image=picture(seed), height=128, width=192, video_id=video_id, frame_index=i)
        for i, seed in enumerate(seeds, start)
    ]


@torch.no_grad()
def track(model, frames, batch: int = 1):
    """The Instances of each frame, as a loop over a dataset gets them."""
    running = RunningVideo(model)
    return [y["instances"] for i in range(0, len(frames), batch) for y in running(frames[i : i + batch])]


def ids_in(instances) -> set:
    return set(instances.track_ids.tolist()) - {-1}


def renumbered(outputs) -> list:
    """Ids of each frame in order of first appearance: ids go on over videos. -1 stays."""
    names = {-1: -1}
    return [[names.setdefault(i, len(names)) for i in x.track_ids.tolist()] for x in outputs]


def test_frames_in_a_batch_equal_frames_one_by_one(model):
    frames = video(1, [3, 4, 5, 3])
    singles, batches = track(model, frames), track(model, frames, batch=3)
    assert renumbered(singles) == renumbered(batches) and len(ids_in(singles[0])) > 1
    for single, batched in zip(singles, batches):
        torch.testing.assert_close(single.pred_boxes.tensor, batched.pred_boxes.tensor, rtol=1e-5, atol=1e-2)


def test_a_repeated_frame_keeps_its_ids(model):
    first, second = track(model, video("a", [3, 3]))
    assert len(first) > 1 and first.track_ids.tolist() == second.track_ids.tolist()
    assert first.track_ids.dtype == torch.int64 and first.image_size == (128, 192)


@pytest.mark.parametrize("batch", [1, 4])
def test_every_video_starts_fresh(model, batch):
    other_video = track(model, video(1, [3, 3]) + video(2, [3, 3], start=2), batch)
    same_number = track(model, video(1, [3, 3]) + video(1, [3, 3]), batch)
    for outputs in (other_video, same_number):
        ids = [ids_in(x) for x in outputs]
        assert ids[0] == ids[1] and ids[2] == ids[3] and not ids[0] & ids[2]


def test_still_images_have_no_ids(model):
    with torch.no_grad():
        still, frame = RunningVideo(model)([{"image": picture(3)}, *video(1, [3])])
    still, frame = still["instances"], frame["instances"]
    assert set(still.get_fields()) == {"pred_boxes", "scores", "pred_classes"} and still.image_size == (64, 96)
    assert set(frame.get_fields()) == {"pred_boxes", "scores", "pred_classes", "track_ids"}


def test_a_frame_needs_its_index(model):
    frame = {"image": picture(3), "video_id": 4, "file_name": "a.jpg"}
    with raises(ValueError, "a.jpg", "video_id", "frame_index"):
        RunningVideo(model)([frame])
    with raises(ValueError, "a.jpg", "state", "frame_index"):
        model([dict(frame, state=model.start())])


def test_a_frame_of_a_dataset_needs_a_state(model):
    with raises(ValueError, "video_id", "state", "RunningVideo"):
        model(video(1, [3]))


@torch.no_grad()
def test_videos_that_are_interleaved_give_what_each_gives_alone(model):
    model.eval()
    videos = [[dict(frame) for frame in video(number, seeds)] for number, seeds in ((1, [3, 3, 4]), (2, [4, 3, 3]))]
    alone = []
    for frames in videos:
        state, results = model.start(), []
        for frame in frames:
            state, found = model.step(state, [frame])
            results += found
        alone.append(results)
    states, both = [model.start() for _ in videos], [[], []]
    for turn in zip(*videos):
        for number, frame in enumerate(turn):
            states[number], found = model.step(states[number], [frame])
            both[number] += found
    for results, expected in zip(both, alone):
        assert [x.track_ids.tolist() for x in results] == [x.track_ids.tolist() for x in expected]
        assert ids_in(results[0])


def given(boxes, size) -> Instances:
    instances = Instances(size, pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)))
    instances.scores = torch.full((len(boxes),), 0.9)
    instances.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
    return instances


def test_ids_stay_with_their_boxes_when_empty_boxes_are_dropped(model):
    a, b, empty = (4, 4, 30, 30), (50, 10, 90, 60), (20, 20, 20, 40)
    state = model.start()
    frames = [dict(frame, state=state) for frame in video(1, [3, 3])]
    with torch.no_grad():
        (first,) = model.inference(frames[:1], [given([a, empty, b], (64, 96))])
        (second,) = model.inference(frames[1:], [given([empty, b, a], (64, 96))])
    first, second = first["instances"], second["instances"]
    assert first.pred_boxes.tensor.tolist() == [[8, 8, 60, 60], [100, 20, 180, 120]]
    assert second.track_ids.tolist() == first.track_ids.flip(0).tolist()


def test_the_tracker_sees_pixels_of_the_output():
    """By overlap alone, a box keeps its id when only the size of the network's input changes."""
    model = make_model(TRACKER__IOU_WEIGHT=1.0).eval()
    a, b = (4, 4, 20, 20), (50, 10, 90, 60)
    common = dict(height=64, width=96, state=model.start())
    small, large = (dict(common, image=picture(3, *size)) for size in [(64, 96), (128, 192)])
    double = [tuple(2 * x for x in box) for box in (b, a)]
    with torch.no_grad():
        (first,) = model.inference([dict(small, frame_index=0)], [given([a, b], (64, 96))])
        (second,) = model.inference([dict(large, frame_index=1)], [given(double, (128, 192))])
    assert second["instances"].track_ids.tolist() == first["instances"].track_ids.flip(0).tolist()


def test_raw_results_are_neither_scaled_nor_tracked(model):
    with torch.no_grad():
        (raw,) = model.inference([{"image": picture(3)}], do_postprocess=False)
    assert raw.image_size == (64, 96) and not raw.has("track_ids") and raw.pred_boxes.tensor.max() <= 96


class SizeAware(Backbone):
    """An ordinary backbone that asks for the sizes of the images, and remembers them."""

    takes_image_sizes = True

    def __init__(self, inner: Backbone):
        super().__init__()
        self.inner = inner
        self.seen = None

    def forward(self, x, image_sizes=None):
        self.seen = image_sizes
        return self.inner(x)

    @property
    def size_divisibility(self):
        return self.inner.size_divisibility

    @property
    def padding_constraints(self):
        return getattr(self.inner, "padding_constraints", {})


def test_a_backbone_that_requires_image_sizes_gets_them():
    model = make_model()
    model.backbone = SizeAware(model.backbone)
    losses_of(model, [training_input(0), training_input(1, height=40, width=100)])
    assert model.backbone.seen == [(64, 96), (40, 100), (64, 96), (40, 100)]
    with torch.no_grad():
        model.eval()([{"image": picture(3)}])
    assert model.backbone.seen == [(64, 96)]


@pytest.mark.parametrize("height, width", [(50, 70), (20, 128)])
def test_a_frame_does_not_depend_on_its_padding(tiny, height, width):
    """With the backbone of this package, detections and embeddings of a frame are those of the frame alone."""
    backbone = dict(MODEL__BACKBONE__NAME="build_effowt_backbone", MODEL__VLM__NAME=tiny, MODEL__VLM__ALLOW_RANDOM=True)
    small = dict(MODEL__VLM__CANVAS=12, MODEL__TRANSFER__OUT_CHANNELS=32, MODEL__SIDE__BLOCKS=[1, 1, 1])
    model = make_model(**backbone, **small).eval()
    sharpen(model.proposal_generator, model.roi_heads)
    embeddings = []
    model.reid_head.register_forward_hook(lambda module, args, output: embeddings.append(output[0]))
    image = picture(3, height, width)
    frame = dict(image=image, state=model.start(), frame_index=0)
    with torch.no_grad():
        (alone,) = model([frame])
        padded, _ = model([dict(frame, frame_index=1), dict(image=picture(4, 128, 160))])
    alone, padded = alone["instances"], padded["instances"]
    assert len(alone) > 1
    torch.testing.assert_close(padded.pred_boxes.tensor, alone.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(padded.scores, alone.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(embeddings[1], embeddings[0], rtol=1e-4, atol=1e-5)
    # pooling reads beyond the border for a box in the corner
    corner, anywhere = given([(width - 12, height - 9, width, height)], (height, width)), given([], (128, 160))
    with torch.no_grad():
        model.inference([dict(frame, frame_index=2)], [corner])
        model.inference([dict(frame, frame_index=3), dict(image=picture(4, 128, 160))], [corner, anywhere])
    torch.testing.assert_close(embeddings[3], embeddings[2], rtol=1e-4, atol=1e-5)


def test_training_images_are_drawn():
    model = make_model(VIS_PERIOD=1)
    with EventStorage(0) as storage:
        model.train()([training_input(0)])
        assert [image.shape for _, image, _ in storage._vis_data] == [(3, 64, 192)]


def test_precomputed_proposals_are_refused():
    with raises(ValueError, "PrecomputedProposals"):
        make_model(MODEL__PROPOSAL_GENERATOR__NAME="PrecomputedProposals")


def test_inference_needs_eval_mode():
    with raises(RuntimeError, "eval"):
        make_model().train().inference([{"image": picture(3)}])
