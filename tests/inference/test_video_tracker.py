"""Three lines of Python: VideoTracker on the quick model of the zoo, and on every kind of source."""

import itertools

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from helpers.messages import raises

from effowt_d2 import VideoTracker, model_zoo
from effowt_d2.data import FrameMapper
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.data.shapes_ow.videos import draw_video
from effowt_d2.inference.tracking_config import make_tracking_config
from effowt_d2.video import FrameTracks, open_frames

NAME = "quick/shapes_ow_effowt.yaml"
SCENE = VideoSplit(videos=1, frames=24, size=256, objects=(3, 3), radii=(26.0, 36.0))


@pytest.fixture(scope="module")
def frames():
    """Six BGR pictures of three objects of ShapesOW."""
    pictures = itertools.islice(draw_video(SCENE, 0)[1], 6)
    return [np.ascontiguousarray(picture[0][:, :, ::-1]) for picture in pictures]


@pytest.fixture(scope="module")
def tracker():
    return VideoTracker(NAME, device="cpu", max_side=384)


@pytest.fixture(scope="module")
def found(tracker, frames):
    return list(tracker.track(frames))


def plain(results):
    return [(r.index, r.boxes.tolist(), (r.ids - results[0].ids.min()).tolist(), r.scores.tolist()) for r in results]


def test_the_zoo_model_works_out_of_the_box(found, frames):
    assert all(isinstance(result, FrameTracks) for result in found)
    assert [result.index for result in found] == list(range(6))
    assert [result.time for result in found] == pytest.approx([n / 30 for n in range(6)])
    for result, frame in zip(found, frames):
        count = len(result.ids)
        assert result.image is frame and result.names is None
        assert result.boxes.shape == (count, 4) and result.scores.shape == (count,) and (result.scores >= 0.3).all()
        assert (result.boxes[:, 2:] > result.boxes[:, :2]).all() and result.boxes.max(initial=0) <= 256
    # trained weights: an untrained head's scores are far below
    assert max(result.scores.max(initial=0) for result in found) > 0.6
    lasting = set.intersection(*(set(result.ids.tolist()) for result in found))
    assert lasting, "no track lasts through six frames"


def test_a_frame_is_scaled_as_in_an_evaluation(tracker, frames, tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), frames[0][:, :180])
    cfg = tracker._predictor.cfg
    expected = FrameMapper(cfg)({"file_name": str(tmp_path / "0.png")})["image"]
    assert expected.shape[1:] != (256, 180)
    scaled = tracker._predictor._input(frames[0][:, :180], 0)["image"]
    torch.testing.assert_close(scaled, expected.float(), rtol=0, atol=0)


def test_several_frames_at_once_give_the_same(found, frames):
    together = VideoTracker(NAME, device="cpu", max_side=384, opts=["TEST.FRAMES_PER_BATCH", 4])
    shapes = []
    together._predictor.model.backbone.register_forward_pre_hook(lambda _, inputs: shapes.append(len(inputs[0])))
    again = list(together.track(frames))
    assert shapes == [4, 2]
    for (index, boxes, ids, scores), (i, b, n, s) in zip(plain(again), plain(found), strict=True):
        assert index == i and ids == n
        np.testing.assert_allclose(boxes, b, atol=1e-3)
        np.testing.assert_allclose(scores, s, atol=1e-5)
    with raises(ValueError, "TEST.FRAMES_PER_BATCH", 0):
        VideoTracker(NAME, device="cpu", opts=["TEST.FRAMES_PER_BATCH", 0])


def test_every_source_gives_the_same(tracker, found, frames, tmp_path):
    frames = frames[:2]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for source in (tmp_path, str(tmp_path / "*.png"), paths, (frame for frame in frames), np.stack(frames)):
        assert plain(list(tracker.track(source))) == plain(found[:2])
    with open_frames(tmp_path, fps=10) as opened:
        assert [result.time for result in tracker.track(opened)] == [0, 0.1]


def test_stride_range_and_rate(tracker, frames):
    results = list(tracker.track(frames, stride=2, start=0.1, end=0.5, fps=10))
    assert [(result.index, result.time) for result in results] == [(1, 0.1), (3, pytest.approx(0.3))]


def test_faults_are_reported_at_once(tracker, frames, tmp_path):
    with raises(FileNotFoundError, "gone.mp4"):
        tracker.track(tmp_path / "gone.mp4")
    with raises(ValueError, 97):
        tracker.track(97)
    with raises(ValueError, "open"):
        tracker.track(open_frames(frames), stride=2)
    with raises(FileNotFoundError, "quick/nothing", NAME):
        VideoTracker("quick/nothing")
    with raises(ValueError, "MODEL.WEIGHTS"):
        VideoTracker(model_zoo.get_config(NAME))
    with raises(ValueError, "MODEL.WEIGHTS"):
        VideoTracker("EffOWT/effowt_vit_b16.yaml")
    with raises(FileNotFoundError, "gone.pth"):
        VideoTracker(NAME, weights="gone.pth")
    with raises(ValueError, "float8", "float32", "bfloat16", "float16"):
        VideoTracker(NAME, precision="float8")
    with raises(ValueError, "NO.SUCH"):
        VideoTracker(NAME, opts=("NO.SUCH", 1))
    with raises(ValueError, "NO.SUCH"):
        VideoTracker(model_zoo.get_config(NAME, trained=True), opts=("NO.SUCH", 1))
    with raises(ValueError, "add_effowt_config"):
        VideoTracker(get_cfg())
    for seconds in (0, float("nan"), float("inf")):
        with raises(ValueError, seconds):
            VideoTracker(NAME, memory=seconds)
    for choice in (dict(end=float("inf")), dict(end=float("nan")), dict(start=float("nan")), dict(start=float("inf"))):
        with raises(ValueError, "start", "end", *choice.values()):
            tracker.track(frames, **choice)
    with raises(ValueError, "nan"):
        tracker.track(frames, fps=float("nan"))


def same(results, expected):
    """Frame by frame the same ids, boxes and names."""
    for one, other in zip(results, expected, strict=True):
        assert (one.index, one.ids.tolist(), one.names) == (other.index, other.ids.tolist(), other.names)
        assert one.boxes.tolist() == other.boxes.tolist() and one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("vocabulary", [None, pytest.param(["disc", "star", "cross"], marks=pytest.mark.slow)])
def test_two_videos_interleaved_give_what_each_gives_alone(frames, vocabulary):
    tracker = VideoTracker(NAME, device="cpu", max_side=384, vocabulary=vocabulary)
    sources = [frames, [np.ascontiguousarray(frame[:, ::-1]) for frame in reversed(frames)]]
    alone = [list(tracker.track(source, restart_ids=True)) for source in sources]
    assert all(min(result.ids.min(initial=9) for result in results) == 0 for results in alone)
    both = list(zip(*(tracker.track(source, restart_ids=True) for source in sources)))
    for number, results in enumerate(alone):
        same([pair[number] for pair in both], results)


def test_ids_of_interleaved_videos_differ_unless_they_restart(tracker, frames):
    both = list(zip(tracker.track(frames), tracker.track(frames)))
    first, second = ({track_id for pair in both for track_id in pair[number].ids.tolist()} for number in (0, 1))
    assert first and second and not first & second


def test_a_config_is_not_changed(frames):
    cfg = model_zoo.get_config(NAME, trained=True)
    before = cfg.dump()
    tracker = VideoTracker(cfg, max_side=64, precision="bfloat16", opts=("TRACKER.MATCH_SCORE", 0.9))
    assert cfg.dump() == before
    assert (tracker.cfg.INPUT.MAX_SIZE_TEST, tracker.cfg.TEST.PRECISION) == (64, "bfloat16")
    assert tracker.cfg.TRACKER.MATCH_SCORE == 0.9
    assert len(list(tracker.track(frames[:2]))) == 2


def test_names_are_given_with_a_vocabulary_only(tracker, found, frames):
    named = VideoTracker(NAME, device="cpu", max_side=384, vocabulary=["disc", "star", "cross"])
    results = list(named.track(frames))
    assert plain(results) == plain(found)
    for result in results:
        assert len(result.names) == len(result.name_scores) == len(result.ids)
        assert set(result.names) <= {"disc", "star", "cross"} and (result.name_scores > 0).all()
    names = named.names()
    assert set(names) >= set(results[-1].ids.tolist())
    last = dict(zip(results[-1].ids.tolist(), results[-1].names))
    assert {track_id: names[track_id][0] for track_id in last} == last
    assert tracker.names() == {}
    list(named.track(frames[:1]))
    assert not set(named.names()) & set(names)


def blinking(fps, seconds_away, frames):
    """The first picture, an empty scene for some seconds, and the picture again."""
    empty = np.zeros_like(frames[0])
    return [frames[0], *[empty] * (round(fps * seconds_away) - 1), frames[0]]


@pytest.fixture(scope="module")
def forgetful():
    return VideoTracker(NAME, device="cpu", max_side=384, memory=1.5)


@pytest.mark.parametrize("fps, stride", [(2, 1), (4, 1), (8, 4)])
@pytest.mark.parametrize("away, remembered", [(1.0, True), (2.0, False)])
def test_memory_in_seconds_is_the_same_at_every_frame_rate(forgetful, frames, fps, stride, away, remembered):
    results = list(forgetful.track(blinking(fps, away, frames), fps=fps, stride=stride))
    first, last = results[0].ids, results[-1].ids
    assert len(first) and results[-1].time == away
    assert bool(set(first.tolist()) & set(last.tolist())) == remembered


@pytest.mark.parametrize(
    "memory, opts, expected",
    [
        (None, (), (1.0, None)),
        (3, (), (3.0, None)),
        (None, ("TRACKER.MEMORY_SECONDS", 2.5), (2.5, None)),
        (None, ("TRACKER.MEMORY_FRAMES", 7), (None, 7)),
        (3, ("TRACKER.MEMORY_FRAMES", 7), (3.0, 7)),
    ],
)
def test_memory_is_the_argument_then_the_config_then_one_second(memory, opts, expected):
    tracker = make_tracking_config("EffOWT/effowt_vit_b16.yaml", memory=memory, opts=opts).TRACKER
    assert (tracker.MEMORY_SECONDS, tracker.MEMORY_FRAMES) == expected


@pytest.mark.parametrize("shortest, expected", [(0, 96), (64, 64), (800, 96)])
def test_the_longest_side_counts_where_frames_are_not_scaled_too(shortest, expected):
    cfg = make_tracking_config(NAME, max_side=96, opts=("INPUT.MIN_SIZE_TEST", shortest)).INPUT
    assert (cfg.MIN_SIZE_TEST, cfg.MAX_SIZE_TEST) == (expected, 96)


def test_times_are_split_where_that_is_asked_for(tracker, found, frames):
    assert tracker.times.seconds == {}
    profiled = VideoTracker(NAME, device="cpu", max_side=384, profile=True)
    list(profiled.track(frames[:2]))
    seconds = profiled.times.seconds
    assert set(seconds) >= {"decoding", "scaling", "tower", "side network", "heads", "association"}
    assert all(value > 0 for value in seconds.values())


def test_what_is_shown_is_the_configs_choice_unless_the_caller_has_one(tracker, found, frames):
    cfg = model_zoo.get_config(NAME, trained=True)
    cfg.MODEL.DEVICE = "cpu"
    middle = float(np.median(np.concatenate([result.scores for result in found])))
    cfg.TEST.SHOWN_SCORE = middle
    shown = VideoTracker(cfg, max_side=384)
    assert shown.score_threshold == middle and tracker.score_threshold == 0.3
    scores = np.concatenate([result.scores for result in shown.track(frames)])
    assert 0 < len(scores) < sum(len(result.scores) for result in found) and scores.min() >= middle
    assert VideoTracker(cfg, max_side=384, score_threshold=0.1).score_threshold == 0.1
    cfg.TEST.SHOWN_SCORE = 1.5
    with raises(ValueError, "TEST.SHOWN_SCORE", 1.5):
        VideoTracker(cfg)


def test_photographs_are_the_default(frames):
    tracker = VideoTracker(device="cpu")
    assert tracker.cfg.MODEL.VLM.NAME == "RealCLIP-S-16"
    assert [len(result.ids) for result in tracker.track(frames)]
