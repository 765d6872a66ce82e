"""SPMTrack on a tiny tower: state, references, causality, read-out, loss and bad input."""

import itertools

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from helpers.tiny_trackers import tracker_config
from helpers.turning_camera import overlaps_of_a_dog
from sot.data.made_clips import make_clips
from sot.losses import SearchTargets
from sot.state import Reference

CLIPS = make_clips(2, frames=6, seed=3)


def frames(number):
    """RGB frames (N, 3, H, W) of a clip."""
    return torch.from_numpy(CLIPS[number].frames[..., ::-1].copy()).permute(0, 3, 1, 2)


def config(tiny, **options):
    small = {"MODEL__PEFT__METHOD": "tmoe", "INPUT__SOT__SAMPLER": "clip", "INPUT__SOT__SEARCH_FACTOR": 5.0}
    return tracker_config("spmtrack", "SPMTrack", tiny, **{**small, **options})


def build(tiny, **options):
    torch.manual_seed(0)
    made = build_model(config(tiny, **options))
    with torch.no_grad():
        for parameter in made.head.parameters():
            parameter.normal_(std=0.05)
    return made


@pytest.fixture(scope="module")
def model(tiny):
    return build(tiny).eval()


def random_inputs(batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    references = [
        Reference(
            torch.randn(batch, 3, 32, 32, generator=generator), torch.rand(batch, 2, 2, generator=generator) > 0.5
        )
        for _ in range(3)
    ]
    return references, torch.randn(batch, 3, 64, 64, generator=generator)


def track(model, video, boxes):
    state, found = model.start(video[0], boxes), []
    for frame in video[1:]:
        state, tracks = model.step(state, frame)
        found.append(torch.cat([tracks.pred_boxes.tensor, tracks.scores[:, None]], dim=1))
    return torch.stack(found), state


def test_the_shipped_tracker_keeps_a_dog_while_the_camera_turns():
    overlaps = overlaps_of_a_dog("projects/SPMTrack/configs/real/spmtrack_real_s.yaml")
    # a box that stays has none in the end
    assert overlaps.min() > 0.25, overlaps


@torch.no_grad()
def test_the_order_of_references_does_not_matter(model):
    references, crops = random_inputs()
    state = torch.randn(2, 1, 64)
    plain = model.respond(references, crops, state)
    for order in itertools.permutations(references):
        other = model.respond(order, crops, state)
        torch.testing.assert_close(other.output.scores, plain.output.scores, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(other.state, plain.state, rtol=1e-5, atol=1e-5)
    model.respond([references[0]] * 3, crops, state)


def test_targets_and_videos_together_are_alone(model):
    boxes = torch.tensor([[10.0, 10, 50, 40], [60, 20, 100, 80]])
    together, _ = track(model, frames(0), boxes)
    alone = torch.cat([track(model, frames(0), box[None])[0] for box in boxes], dim=1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)
    states = [model.start(frames(0)[0], boxes), model.start(frames(1)[0], boxes[:1])]
    for index in range(1, 6):
        results = model.step_all(states, [frames(0)[index], frames(1)[index]])
        states = [state for state, _ in results]
    torch.testing.assert_close(results[0][1].pred_boxes.tensor, together[-1][:, :4], rtol=0, atol=1e-3)
    second, end = track(model, frames(1), boxes[:1])
    torch.testing.assert_close(results[1][1].pred_boxes.tensor, second[-1][:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(states[1].memory.state, end.memory.state, rtol=1e-5, atol=1e-5)


def test_the_past_matters_and_the_future_does_not(model):
    video, box = frames(0), CLIPS[0].boxes[:1]
    plain, _ = track(model, video, box)
    later, earlier = video.clone(), video.clone()
    later[4:], earlier[2] = 0, 255 - earlier[2]
    assert track(model, later, box)[0][:3].equal(plain[:3])
    references, crops = random_inputs()
    with torch.no_grad():
        one, other = (model.respond(references, crops, state).output.scores for state in torch.randn(2, 2, 1, 64))
    # the state changes responses even with the same references
    assert not torch.allclose(one, other) and not torch.allclose(track(model, earlier, box)[0][2:], plain[2:])


def test_training_runs_the_same_steps(tiny):
    model = build(tiny).train()
    samples = made_samples(2)
    references = model.training_references(samples)
    state, single = model.first_state(2), {}
    for crops, boxes in model.training_searches(samples):
        response = model.respond(references, crops, state)
        for name, loss in model.loss(response.output, SearchTargets(boxes, (4, 4), (64, 64))).items():
            single[name] = single.get(name, 0) + loss
        state = response.state.detach()
    assert {name: loss.item() for name, loss in model(samples).items()} == {
        name: loss.item() for name, loss in single.items()
    }


def made_samples(count, references=3, searches=2):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "templates": torch.rand(references, 3, 32, 32, generator=generator),
            "searches": torch.rand(searches, 3, 64, 64, generator=generator),
            "template_boxes": torch.tensor([[8.0, 8, 24, 24]] * references, dtype=torch.float64),
            "search_boxes": torch.tensor([[20.0, 16, 44, 40], [10, 10, 40, 30]], dtype=torch.float64)[:searches],
        }
        for _ in range(count)
    ]


def test_gradients_stay_within_a_frame_and_reach_everything(tiny):
    model = build(tiny).train()
    references, crops = random_inputs()
    first = model.respond(references, crops, model.first_state(2))
    assert first.state.requires_grad
    carried = first.state.detach().requires_grad_()
    second = model.respond(references, crops, carried)
    (gradient,) = torch.autograd.grad(second.output.scores.sum(), carried, retain_graph=True)
    assert gradient.abs().sum() > 0
    losses = model(made_samples(2))
    sum(losses.values()).backward()
    missing = [
        name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum())
    ]
    assert missing == []


def test_the_warm_up_of_the_boxes(tiny):
    model = build(tiny, MODEL__SPMTRACK__BOX_WARMUP=2, MODEL__SPMTRACK__BOX_WARMUP_FACTOR=10.0).train()
    values = []
    for iteration in (0, 1, 2):
        with EventStorage(iteration):
            values.append(model(made_samples(1))["loss_box"].item())
    assert values[0] == values[1] == pytest.approx(10 * values[2])


@torch.no_grad()
def test_the_read_out_is_a_product(tiny, model):
    references, crops = random_inputs()
    response = model.respond(references, crops, model.first_state(2))
    double = build(tiny, MODEL__SPMTRACK__RESPONSE_SCALE=2.0).eval()
    other = double.respond(references, crops, double.first_state(2))
    torch.testing.assert_close(other.map, 2 * response.map, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = model.respond(references, crops, model.first_state(2))
    assert low.output.scores.dtype == low.map.dtype == low.state.dtype == torch.float32


def test_history_and_admission_are_options(tiny):
    video, box = frames(0), CLIPS[0].boxes[:1]
    found = {name: track(build(tiny, MODEL__SPMTRACK__HISTORY=name).eval(), video, box) for name in ("halves", "first")}
    assert not torch.equal(found["halves"][0], found["first"][0])
    _, state = track(build(tiny, MODEL__SPMTRACK__ADMIT_SCORE=1.0).eval(), video, box)
    assert state.memory.skipped.tolist() == [5]
    _, state = track(build(tiny, MODEL__SPMTRACK__MEMORY_CAP=1).eval(), video, box)
    assert len(state.memory.entries) == 2


def test_a_bad_past_and_an_empty_view_leave_finite_boxes(model):
    state = model.start(frames(0)[0], CLIPS[0].boxes[:1])
    for frame in [torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8), *[torch.zeros(3, 96, 128)] * 10]:
        state, tracks = model.step(state, frame)
        assert tracks.pred_boxes.tensor.isfinite().all() and tracks.pred_boxes.tensor.min() >= 0
    assert state.boxes.isfinite().all() and state.memory.state.isfinite().all()


def test_wrong_numbers_of_references_and_states_are_named(model):
    references, crops = random_inputs()
    with pytest.raises(ValueError, match="references.*3.*INPUT.SOT.REFERENCES.*2"):
        model.respond(references[:2], crops, model.first_state(2))
    for shape in ((1, 1, 64), (2, 1, 32)):
        with pytest.raises(ValueError, match="state") as error:
            model.respond(references, crops, torch.zeros(shape))
        assert str(shape) in str(error.value) and "(2, 1, 64)" in str(error.value)


@pytest.mark.parametrize(
    "key, value",
    [
        ("HISTORY", "quarters"),
        ("MEMORY_CAP", -1),
        ("ADMIT_SCORE", 2.0),
        ("RESPONSE_SCALE", 0.0),
        ("BOX_WARMUP", -1),
        ("BOX_WARMUP_FACTOR", 0.0),
    ],
)
def test_options_that_do_not_fit_name_their_key(tiny, key, value):
    cfg = config(tiny)
    cfg.MODEL.SPMTRACK[key] = value
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert f"MODEL.SPMTRACK.{key}" in str(error.value) and str(value) in str(error.value)
