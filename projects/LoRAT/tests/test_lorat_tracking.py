"""LoRAT on a tiny tower: its state, several targets and videos, merging, training parts and bad input."""

import pytest
import torch
from detectron2.modeling import build_model
from helpers.tiny_trackers import tracker_config
from sot.data.made_clips import make_clips

from effowt_d2.engine import build_optimizer
from effowt_d2.modeling.peft import merge, unmerge

CLIPS = make_clips(2, frames=5, seed=3)


def frames(number):
    """RGB frames (N, 3, H, W) of a clip."""
    return torch.from_numpy(CLIPS[number].frames[..., ::-1].copy()).permute(0, 3, 1, 2)


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(0)
    made = build_model(tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora"))
    # so that responses differ from cell to cell
    with torch.no_grad():
        for parameter in made.head.parameters():
            parameter.normal_(std=0.2)
    return made.eval()


def track(model, video, boxes):
    state, found = model.start(video[0], boxes), []
    for frame in video[1:]:
        state, tracks = model.step(state, frame)
        found.append(torch.cat([tracks.pred_boxes.tensor, tracks.scores[:, None]], dim=1))
    return torch.stack(found)


def test_results_are_boxes_in_the_frame(model):
    found = track(model, frames(0), CLIPS[0].boxes[:1])
    assert found.shape == (4, 1, 5) and found.isfinite().all()
    low, high = found[..., :4].amin(dim=(0, 1)), found[..., :4].amax(dim=(0, 1))
    assert low.min() >= 0 and high[2] <= 128 and high[3] <= 96 and 0 <= found[..., 4].min() and found[..., 4].max() <= 1
    _, tracks = model.step(model.start(frames(0)[0], CLIPS[0].boxes[:1]), frames(0)[1])
    assert tracks.track_ids.tolist() == [0] and tracks.image_size == (96, 128) and tracks.pred_classes.tolist() == [0]


@pytest.mark.parametrize("tower", ["RealCLIP-S-16", "ShapesCLIP-S-16"])
def test_the_head_sees_normalised_tokens_of_an_embedded_tower(tower):
    options = {"MODEL__VLM__NAME": tower, "MODEL__VLM__WEIGHTS": f"effowt://{tower}", "MODEL__PEFT__METHOD": "lora"}
    model, seen = build_model(tracker_config("lorat", "LoRAT", tower, **options)).eval(), []
    model.head.register_forward_pre_hook(lambda head, tokens: seen.extend(tokens))
    track(model, frames(0)[:2], CLIPS[0].boxes[:1])
    # RealCLIP-S-16 is pooled before its norm: unnormalised, its tokens would have a deviation of 8
    assert 0.5 < seen[0].std(dim=-1).mean() < 2


def test_targets_together_are_targets_alone(model):
    boxes = torch.tensor([[10.0, 10, 50, 40], [60, 20, 100, 80], [0, 50, 30, 96]])
    together = track(model, frames(0), boxes)
    alone = torch.cat([track(model, frames(0), box[None]) for box in boxes], dim=1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def test_videos_interleaved_are_videos_alone(model):
    videos, boxes = (
        [frames(0), frames(1)[:, :, :80, :100]],
        [[[10.0, 10, 50, 40]], [[20.0, 20, 40, 60], [5, 5, 30, 30]]],
    )
    states = [model.start(video[0], box) for video, box in zip(videos, boxes)]
    before = states[0].boxes.clone()
    together = [[], []]
    for pair in zip(*(video[1:] for video in videos)):
        results = model.step_all(states, pair)
        for number, (_, tracks) in enumerate(results):
            together[number].append(tracks.pred_boxes.tensor)
        kept, states = states, [state for state, _ in results]
    for found, video, box in zip(together, videos, boxes):
        torch.testing.assert_close(torch.stack(found), track(model, video, box)[..., :4], rtol=0, atol=1e-3)
    # a step leaves the state that it was given
    assert states[0].frame == 4 and kept[0].frame == 3 and model.start(videos[0][0], boxes[0]).boxes.equal(before)


def test_no_targets_and_frames_of_another_size(model):
    state = model.start(frames(0)[0], torch.zeros(0, 4))
    state, tracks = model.step(state, frames(0)[1])
    assert len(tracks) == 0 and state.frame == 1
    state = model.start(frames(0)[0], [[10.0, 10, 50, 40]])
    state, tracks = model.step(state, frames(0)[1][:, :60, :70])
    assert tracks.image_size == (60, 70) and tracks.pred_boxes.tensor[0, 2:].tolist() <= [70, 60]
    mixed = model.step_all([state, model.start(frames(1)[0], [])], [frames(0)[2], frames(1)[1]])
    assert [len(tracks) for _, tracks in mixed] == [1, 0]


def test_a_target_that_leaves_keeps_its_last_box(model):
    state = model.start(frames(0)[0], [[100.0, 70, 128, 96]])
    for _ in range(6):
        state, tracks = model.step(state, torch.zeros(3, 40, 50))
        assert tracks.pred_boxes.tensor.isfinite().all()
        assert (state.boxes[:, 2:] > state.boxes[:, :2]).all() and state.boxes.isfinite().all()


def test_a_network_that_breaks_reports_the_last_box(model):
    state = model.start(frames(0)[0], [[10.0, 10, 50, 40]])
    bias = model.head.reg_mlp.layers[-1].bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias.fill_(float("nan"))
        after, tracks = model.step(state, frames(0)[1])
        bias.copy_(kept)
    assert tracks.pred_boxes.tensor.tolist() == [[10, 10, 50, 40]] and after.boxes.equal(state.boxes)


def test_merged_weights_give_the_same_boxes(model):
    plain = track(model, frames(0), CLIPS[0].boxes[:1])
    merge(model.backbone.tower)
    merged = track(model, frames(0), CLIPS[0].boxes[:1])
    unmerge(model.backbone.tower)
    torch.testing.assert_close(merged, plain, rtol=0, atol=1e-3)


NAN = float("nan")


@pytest.mark.parametrize(
    "box", [[NAN, 0, 5, 5], [10, 10, 10, 30], [30, 30, 10, 10], [200, 10, 220, 30], [-9, -9, -1, -1]]
)
def test_boxes_that_cannot_be_followed_are_named(model, box):
    with pytest.raises(ValueError, match=r"boxes\[1\].*128 x 96") as error:
        model.start(frames(0)[0], [[10, 10, 20, 20], box])
    assert str([float(value) for value in box]) in str(error.value)


def test_a_small_box_is_allowed_and_bad_frames_are_not(model):
    assert track(model, frames(0), [[10.0, 10, 12, 11]]).isfinite().all()
    state = model.start(frames(0)[0], [[10.0, 10, 50, 40]])
    for frame in (torch.zeros(96, 128), torch.zeros(1, 96, 128), torch.zeros(3, 0, 128)):
        for call in (
            lambda frame=frame: model.step(state, frame),
            lambda frame=frame: model.start(frame, [[1, 1, 2, 2]]),
        ):
            with pytest.raises(ValueError, match="frame"):
                call()
    with pytest.raises(ValueError, match="start"):
        model.step(None, frames(0)[1])
    with pytest.raises(ValueError, match="given_boxes.*a.jpg"):
        model([{"image": frames(0)[0], "file_name": "a.jpg"}])


def test_frames_in_bgr_are_turned(model, tiny):
    torch.manual_seed(0)
    other = build_model(tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora", INPUT__FORMAT="BGR")).eval()
    other.load_state_dict(model.state_dict())
    box = CLIPS[0].boxes[:1]
    torch.testing.assert_close(track(other, frames(0).flip(1), box), track(model, frames(0), box))


def samples(count):
    generator = torch.Generator().manual_seed(0)
    boxes = torch.tensor([[20.0, 16, 44, 40]], dtype=torch.float64)
    return [
        {
            "templates": torch.rand(1, 3, 32, 32, generator=generator),
            "searches": torch.rand(1, 3, 64, 64, generator=generator),
            "template_boxes": torch.tensor([[8.0, 8, 24, 24]], dtype=torch.float64),
            "search_boxes": boxes,
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("method, trains", [("lora", True), ("none", False), ("full", True)])
def test_what_trains_changes_and_the_rest_stays(tiny, method, trains):
    cfg = tracker_config(
        "lorat", "LoRAT", tiny, MODEL__PEFT__METHOD=method, SOLVER__BASE_LR=1e-3, SOLVER__WEIGHT_DECAY=0.1
    )
    model = build_model(cfg).train()
    optimizer = build_optimizer(cfg, model)
    in_groups = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sorted(in_groups) == sorted(map(id, trained.values()))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad()
        sum(model(samples(2)).values()).backward()
        optimizer.step()
    model.eval()
    model.train()
    tower = {name for name in trained if name.startswith("backbone.tower.")}
    assert bool(tower) == trains and {name for name, p in model.named_parameters() if p.requires_grad} == set(trained)
    for name, value in model.state_dict().items():
        assert value.equal(before[name]) == (name not in trained), name


def test_a_batch_without_a_positive_cell_reaches_every_parameter(tiny):
    model = build_model(tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora")).train()
    off = [{**sample, "search_boxes": sample["search_boxes"] + 500} for sample in samples(2)]
    losses = model(off)
    assert losses["loss_box"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    "key, value, shown",
    [
        ("INPUT.SOT.TEMPLATE_SIZE", 40, "16"),
        ("INPUT.SOT.SEARCH_SIZE", 72, "16"),
        ("INPUT.SOT.TEMPLATE_SIZE", 96, "(4, 4)"),
        ("MODEL.PEFT.RANK", 65, "64"),
        ("MODEL.SOT.WINDOW_WEIGHT", 1.5, "1.5"),
        ("MODEL.SOT.BOX_WEIGHT", -1.0, "-1"),
        ("MODEL.SOT.TYPE_STD", 0.0, "0"),
        ("INPUT.SOT.SEARCH_FACTOR", 0.5, "0.5"),
        ("INPUT.FORMAT", "YUV", "YUV"),
    ],
)
def test_options_that_do_not_fit_name_their_key(tiny, key, value, shown):
    cfg = tracker_config("lorat", "LoRAT", tiny, MODEL__PEFT__METHOD="lora")
    *parents, last = key.split(".")
    target = cfg
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert (key if key != "INPUT.FORMAT" else "input_format") in str(error.value) and shown in str(error.value)
