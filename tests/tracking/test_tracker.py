"""What the tracker promises (section 10.11 of the specification), on hand-made detections."""

import numpy as np
import pytest
import torch

from effowt_d2.tracking import PRESETS, Tracker

PLAIN = dict(PRESETS["tao"], distractor_iou=1.0)
CHANNELS = 16


def axis(*numbers: int, scale: float = 1.0) -> torch.Tensor:
    """Orthogonal embeddings, one per number."""
    return scale * torch.eye(CHANNELS)[list(numbers)]


def apart(count: int) -> torch.Tensor:
    """Boxes in a row that don't touch."""
    left = 100.0 * torch.arange(count)
    return torch.stack([left, left * 0, left + 50, left * 0 + 50], dim=1)


def step(tracker: Tracker, frame: int, embeddings: torch.Tensor, scores=None, boxes=None) -> list[int]:
    count = len(embeddings)
    scores = torch.full((count,), 0.9) if scores is None else torch.tensor(scores)
    return tracker.update(apart(count) if boxes is None else boxes, scores, embeddings, frame).tolist()


def random_video(seed: int, frames: int = 30, objects: int = 12):
    """Frames of noisy detections of a few objects, in shuffled order."""
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(objects, CHANNELS, generator=rng) * 2
    for _ in range(frames):
        count = int(torch.randint(0, objects + 1, (1,), generator=rng))
        chosen = torch.randperm(objects, generator=rng)[:count]
        corner = torch.rand(count, 2, generator=rng) * 200
        size = torch.rand(count, 2, generator=rng) * 100
        noise = torch.randn(count, CHANNELS, generator=rng)
        scores = torch.rand(count, generator=rng)
        yield torch.cat([corner, corner + size], 1), scores, base[chosen] + 0.5 * noise


def run(tracker: Tracker, video) -> list[list[int]]:
    return [tracker.update(*detections, frame).tolist() for frame, detections in enumerate(video)]


@pytest.mark.parametrize("preset", PRESETS)
def test_is_causal_and_deterministic(preset):
    whole = run(Tracker(**PRESETS[preset]), random_video(0))
    assert max(max(ids, default=-1) for ids in whole) > 5
    assert whole == run(Tracker(**PRESETS[preset]), random_video(0))
    other_future = list(random_video(0))[:15] + list(random_video(1))[15:]
    changed = run(Tracker(**PRESETS[preset]), other_future)
    assert changed[:15] == whole[:15]
    assert changed[15:] != whole[15:]


@pytest.mark.parametrize("preset", PRESETS)
def test_equal_scores_give_the_same_tracks_in_any_order(preset):
    ordered, shuffled = Tracker(**PRESETS[preset]), Tracker(**PRESETS[preset])
    for frame, (boxes, scores, embeddings) in enumerate(random_video(3)):
        scores = (scores * 2).round() / 2 * 0.9 + 0.05
        order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(frame))
        found = ordered.update(boxes, scores, embeddings, frame)
        assert shuffled.update(boxes[order], scores[order], embeddings[order], frame).tolist() == found[order].tolist()


@pytest.mark.parametrize("preset", PRESETS)
def test_ids_are_unique_in_every_frame(preset):
    for ids in run(Tracker(**PRESETS[preset]), random_video(3, frames=60)):
        given = [number for number in ids if number >= 0]
        assert len(given) == len(set(given))


def canonical(frames: list[list[int]]) -> list[list[int]]:
    """Ids renamed in order of appearance."""
    names: dict[int, int] = {-1: -1}
    return [[names.setdefault(number, len(names) - 1) for number in ids] for ids in frames]


@pytest.mark.parametrize("preset", PRESETS)
def test_order_of_videos_changes_ids_only_by_renaming(preset):
    results = []
    for order in ([1, 2], [2, 1]):
        tracker = Tracker(**PRESETS[preset])
        videos = {}
        for seed in order:
            tracker.reset()
            videos[seed] = run(tracker, random_video(seed))
        results.append(videos)
        first, second = ({number for ids in frames for number in ids} - {-1} for frames in videos.values())
        assert first and second and not first & second
    for seed in (1, 2):
        assert canonical(results[0][seed]) == canonical(results[1][seed])


def test_two_trackers_count_their_ids_separately():
    first, second = Tracker(**PLAIN), Tracker(**PLAIN)
    assert step(first, 0, axis(0, 1)) == [0, 1]
    assert step(second, 0, axis(0)) == [0]
    first.reset()
    assert step(second, 1, axis(1)) == [1]


def test_identical_embeddings_keep_identity_and_orthogonal_ones_start_tracks():
    tracker = Tracker(**PLAIN)
    assert step(tracker, 0, axis(0, 1, 2, scale=5)) == [0, 1, 2]
    assert step(tracker, 1, axis(2, 0, 1, scale=5)) == [2, 0, 1]
    assert step(tracker, 2, axis(3, 4, 5, 0, scale=5)) == [3, 4, 5, 0]


def test_empty_frames_and_a_frame_index_that_jumps():
    tracker = Tracker(**PLAIN)
    empty = torch.empty(0, CHANNELS)
    assert step(tracker, 3, empty) == []
    assert step(tracker, 4, axis(0, 1, scale=5)) == [0, 1]
    assert step(tracker, 5, empty) == []
    assert step(tracker, 9, axis(1, 0, scale=5)) == [1, 0]


def test_a_track_is_remembered_for_exactly_memory_frames():
    for gap, expected in ((10, [0, 1]), (11, [2, 3])):
        tracker = Tracker(**PLAIN)
        step(tracker, 5, axis(0, 1, scale=5))
        assert step(tracker, 5 + gap, axis(0, 1, scale=5)) == expected
    assert len(tracker) == 2


def test_reset_forgets_but_ids_continue():
    tracker = Tracker(**PLAIN)
    step(tracker, 7, axis(0, 1, scale=5))
    tracker.reset()
    assert len(tracker) == 0
    assert step(tracker, 0, axis(0, 1, scale=5)) == [2, 3]


def test_equal_scores_go_by_place():
    tracker = Tracker(**PLAIN)
    step(tracker, 0, axis(0, scale=5))
    assert step(tracker, 1, axis(0, 0, scale=5)) == [0, 1]


def test_one_detection_and_one_entry_match_whatever_they_look_like_unless_the_cosine_floor_forbids():
    unlike = torch.zeros(1, CHANNELS)
    unlike[0, :2] = torch.tensor([0.1, 1.0])
    without, floored = Tracker(**PLAIN), Tracker(**dict(PLAIN, cosine_floor=0.3))
    for tracker in (without, floored):
        step(tracker, 0, axis(0))
    # bi-softmax of a single pair is 1, so S = (1 + c) / 2 passes 0.5 for any c > 0
    assert step(without, 1, unlike) == [0]
    assert step(floored, 1, unlike) == [1]
    assert step(without, 2, -unlike) == [1]
    opposite = Tracker(**PLAIN)
    step(opposite, 0, axis(0))
    assert step(opposite, 1, axis(1)) == [1]  # c = 0 gives S = 0.5, which isn't above 0.5


def test_keep_and_init_scores_are_exclusive_limits():
    tracker = Tracker(**dict(PLAIN, keep_score=0.25, init_score=0.5))
    assert step(tracker, 0, axis(0, 1, 2, 3), scores=[0.25, 0.375, 0.5, 0.75]) == [-1, -1, -1, 0]
    # once started, a track goes on below the initial score but not below the keeping one
    assert step(tracker, 1, axis(3), scores=[0.375]) == [0]
    assert step(tracker, 2, axis(3), scores=[0.25]) == [-1]


def test_better_score_takes_the_shared_memory_entry():
    tracker = Tracker(**dict(PLAIN, init_score=0.5))
    step(tracker, 0, axis(0, scale=3))
    assert step(tracker, 1, axis(0, 0, scale=3), scores=[0.3, 0.4]) == [-1, 0]


def test_hungarian_finds_the_better_sum_where_greedy_does_not():
    cosines = torch.zeros(2, CHANNELS)
    cosines[0, :2] = torch.tensor([0.8, 0.6])  # first detection prefers track 0 slightly
    cosines[1, :3] = torch.tensor([0.8, 0.0, 0.6])  # second one has only track 0
    settings = dict(PLAIN, appearance="cosine", match_score=0.1)
    ids = {}
    for assignment in ("greedy", "hungarian"):
        tracker = Tracker(**dict(settings, assignment=assignment))
        step(tracker, 0, axis(0, 1))
        ids[assignment] = step(tracker, 1, cosines, scores=[0.9, 0.8])
    assert ids == {"greedy": [0, 2], "hungarian": [1, 0]}


def overlapping(*scores: float, settings: dict) -> list[int]:
    boxes = torch.tensor([[0.0, 0, 100, 100], [0, 0, 100, 60], [300, 300, 400, 400]])
    return step(Tracker(**settings), 0, axis(0, 1, 2), scores=list(scores), boxes=boxes)


def test_distractors_leave_only_below_their_score_and_only_for_a_better_one():
    settings = PRESETS["tao"]
    assert overlapping(0.9, 0.4, 0.3, settings=settings) == [0, -1, 1]
    assert overlapping(0.9, 0.6, 0.3, settings=settings) == [0, 1, 2]
    assert overlapping(0.3, 0.4, 0.3, settings=settings) == [-1, 0, 1]
    assert overlapping(0.9, 0.4, 0.3, settings=dict(settings, distractor_iou=0.6)) == [0, 1, 2]
    assert overlapping(0.9, 0.4, 0.3, settings=dict(settings, distractor_score=0.4)) == [0, 1, 2]


def test_max_overlap_is_off_by_default_and_takes_sure_detections_too():
    assert overlapping(0.9, 0.8, 0.3, settings=PRESETS["tao"]) == [0, 1, 2]
    assert overlapping(0.9, 0.8, 0.3, settings=dict(PRESETS["tao"], max_overlap=0.5)) == [0, -1, 1]


def test_a_removed_distractor_does_not_compete_in_the_matching():
    tracker = Tracker(**dict(PRESETS["tao"], init_score=0.5))
    step(tracker, 0, axis(0, scale=3))
    boxes = torch.tensor([[0.0, 0, 100, 100], [0, 0, 100, 60]])
    # the distractor has the track's embedding, but it's gone before it can take the track
    near = axis(0, scale=3) + 0.5 * axis(1)
    ids = step(tracker, 1, torch.cat([near, axis(0, scale=3)]), scores=[0.9, 0.4], boxes=boxes)
    assert ids == [0, -1]


def test_a_backdrop_keeps_a_look_alike_from_a_track():
    look_alike = axis(0, scale=1.5) + axis(1, scale=2)
    ids = {}
    for frames in (0, 1):
        tracker = Tracker(**dict(PLAIN, init_score=0.5, backdrop_frames=frames))
        step(tracker, 0, torch.cat([axis(0, scale=3), look_alike]), scores=[0.9, 0.4])
        ids[frames] = step(tracker, 1, look_alike, scores=[0.4])
    assert ids == {0: [0], 1: [-1]}
    # after its frame the backdrop is gone, and the 1x1 case lets the look-alike in again
    assert step(tracker, 3, look_alike, scores=[0.4]) == [0]


def test_momentum_moves_the_memory_towards_the_new_embedding():
    tracker = Tracker(**dict(PLAIN, appearance="cosine", match_score=0.7))
    step(tracker, 0, axis(0))
    turned = axis(0) + axis(1)  # cosine 0.707 to the start
    assert step(tracker, 1, turned) == [0]
    # e = 0.2 (1, 0) + 0.8 (1, 1) = (1, 0.8): cosine to (0, 1) is 0.62, to (1, 2) 0.91
    assert step(tracker, 2, axis(1)) == [1]
    tracker.reset()
    step(tracker, 0, axis(0))
    step(tracker, 1, turned)
    assert step(tracker, 2, axis(0) + 2 * axis(1)) == [2]


def test_history_matches_the_time_weighted_mean():
    tracker = Tracker(**dict(PLAIN, momentum=1.0, history=3))
    for frame, number in enumerate((0, 0, 1, 2)):
        tracker.update(apart(1), torch.ones(1), axis(0, scale=9) + axis(number), frame)
    expected = (10 * axis(0) + 2 * (9 * axis(0) + axis(1)) + 3 * (9 * axis(0) + axis(2))) / 6
    torch.testing.assert_close(tracker._tracks.embeddings(), expected)


def test_overlap_term_distinguishes_look_alikes():
    boxes = torch.tensor([[0.0, 0, 50, 50], [200, 0, 250, 50]])
    same = axis(0, 0)
    ids = {}
    for weight in (0.0, 0.5):
        tracker = Tracker(**dict(PLAIN, iou_weight=weight))
        step(tracker, 0, same, boxes=boxes)
        ids[weight] = step(tracker, 1, same, scores=[0.9, 0.8], boxes=boxes.flip(0))
    assert ids == {0.0: [0, 1], 0.5: [1, 0]}


def test_constant_velocity_follows_crossing_look_alikes():
    def crossing(t):
        return torch.tensor([[40.0 * t, 0, 40 * t + 50, 50], [200 - 40.0 * t, 0, 250 - 40 * t, 50]])

    ids = {}
    for motion in ("none", "constant_velocity"):
        tracker = Tracker(**dict(PLAIN, match_score=0.2, iou_weight=0.5, motion=motion))
        frames = [step(tracker, t, axis(0, 0), boxes=crossing(t)) for t in (0, 1, 2, 4, 5)]
        ids[motion] = frames[-1]
    assert ids == {"none": [1, 0], "constant_velocity": [0, 1]}


def test_half_precision_detections_and_inference_mode_mix_with_normal_mode():
    tracker = Tracker(**PLAIN)
    with torch.inference_mode():
        assert step(tracker, 0, axis(0, 1, scale=5).bfloat16()) == [0, 1]
    assert step(tracker, 1, axis(1, 0, scale=5)) == [1, 0]
    with torch.inference_mode():
        assert step(tracker, 2, axis(1, 0, scale=5)) == [1, 0]
    leaf = axis(1, 0, scale=5).requires_grad_()
    assert step(tracker, 3, leaf) == [1, 0]
    assert not tracker._tracks.embeddings().requires_grad


def test_memory_does_not_grow_with_the_video():
    tracker = Tracker(**PLAIN)
    rng = np.random.default_rng(0)
    sizes = []
    for frame in range(200):
        embeddings = torch.from_numpy(rng.normal(size=(5, CHANNELS)).astype(np.float32)) * 5
        step(tracker, frame, embeddings)
        sizes.append(len(tracker))
    assert max(sizes) <= 5 * 11
    assert tracker._tracks.embeddings().untyped_storage().nbytes() <= 5 * 11 * CHANNELS * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("preset", PRESETS)
def test_gpu_gives_the_ids_of_the_cpu(preset):
    on_gpu = ([tensor.cuda() for tensor in detections] for detections in random_video(0))
    assert run(Tracker(**PRESETS[preset]), on_gpu) == run(Tracker(**PRESETS[preset]), random_video(0))
