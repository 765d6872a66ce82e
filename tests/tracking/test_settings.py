"""Presets, config keys, and the errors of settings and detections."""

import inspect

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.configs import plugin_config
from helpers.messages import raises

from effowt_d2.modeling.meta_arch import VideoState, build_tracker
from effowt_d2.tracking import PRESETS, Tracker

SETTINGS = [name for name in inspect.signature(Tracker.__init__).parameters if name != "self"]


@pytest.fixture
def cfg():
    return plugin_config()


def test_every_setting_has_a_key_and_every_key_is_a_setting(cfg):
    assert {key.lower() for key in cfg.TRACKER} == {"preset", *SETTINGS}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_give_every_setting_and_build_by_config(cfg, name):
    assert set(PRESETS[name]) == set(SETTINGS)
    cfg.merge_from_list(["TRACKER.PRESET", name])
    tracker = build_tracker(cfg.TRACKER)
    plain = {key: value for key, value in PRESETS[name].items() if key not in ("momentum", "history")}
    assert {key: getattr(tracker, key) for key in plain} == plain


def test_the_table_of_the_specification():
    columns = ("init_score", "keep_score", "match_score", "memory_frames", "backdrop_frames", "momentum")
    rows = {name: tuple(PRESETS[name][column] for column in columns) for name in ("tao", "qdtrack", "simowt")}
    assert rows == {
        "tao": (1e-4, 1e-4, 0.5, 10, 0, 0.8),
        "qdtrack": (0.8, 0.5, 0.5, 10, 1, 0.8),
        "simowt": (0.2, 0.1, 0.5, 10, 0, 0.8),
    }


@pytest.mark.parametrize(
    "key, value",
    [
        ("init_score", 0.3),
        ("memory_frames", 4),
        ("memory_seconds", 1.5),
        ("assignment", "greedy"),
        ("cosine_floor", -0.5),
        ("match_score", 1),
    ],
)
def test_a_key_overrides_the_preset_and_nothing_else(cfg, key, value):
    cfg.merge_from_list(["TRACKER.PRESET", "owtb", f"TRACKER.{key.upper()}", str(value)])
    tracker = build_tracker(cfg.TRACKER)
    assert getattr(tracker, key) == value
    assert tracker.appearance == "cosine" and tracker.iou_weight == 0.5


@pytest.mark.parametrize("key, value, moves", [("MOMENTUM", "0.25", 0.25), ("MOMENTUM", "1.0", 1.0)])
def test_momentum_key_reaches_the_memory(cfg, key, value, moves):
    cfg.merge_from_list([f"TRACKER.{key}", value])
    tracker = build_tracker(cfg.TRACKER)
    box, score = torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1)
    tracker.update(box, score, torch.tensor([[1.0, 0.0]]), 0)
    tracker.update(box, score, torch.tensor([[2.0, 0.0]]), 1)
    assert tracker._tracks.embeddings()[0, 0].item() == pytest.approx(1 + moves)


def test_config_survives_a_dump_and_reload(cfg, tmp_path):
    cfg.merge_from_list(["TRACKER.MATCH_SCORE", "0.25"])
    path = tmp_path / "config.yaml"
    path.write_text(cfg.dump())
    again = plugin_config()
    again.merge_from_file(str(path))
    assert again.TRACKER == cfg.TRACKER
    assert build_tracker(again.TRACKER).match_score == 0.25


def test_unknown_preset_names_the_known_ones(cfg):
    cfg.TRACKER.PRESET = "sort"
    with raises(ValueError, "sort", list(PRESETS)):
        build_tracker(cfg.TRACKER)


def test_no_preset_needs_every_key(cfg):
    cfg.TRACKER.PRESET = ""
    cfg.TRACKER.INIT_SCORE = 0.5
    with raises(ValueError, "KEEP_SCORE", "MATCH_SCORE") as error:
        build_tracker(cfg.TRACKER)
    assert "INIT_SCORE" not in str(error.value)
    for key, value in PRESETS["tao"].items():
        cfg.TRACKER[key.upper()] = value
    assert build_tracker(cfg.TRACKER).init_score == 1e-4


@pytest.mark.parametrize(
    "name, value",
    [
        ("init_score", 1.5),
        ("keep_score", float("nan")),
        ("match_score", "half"),
        ("match_score", True),
        ("memory_frames", 0),
        ("memory_frames", 2.5),
        ("memory_seconds", 0),
        ("memory_seconds", float("inf")),
        ("memory_seconds", "long"),
        ("momentum", 0.0),
        ("momentum", -0.1),
        ("history", 0),
        ("backdrop_frames", -1),
        ("distractor_iou", 2),
        ("cosine_floor", -1.5),
        ("assignment", "auction"),
        ("appearance", "euclid"),
        ("motion", "kalman"),
        ("motion", "constant_velocity"),  # without iou_weight it would do nothing
    ],
)
def test_a_bad_setting_is_named_and_so_is_its_key(cfg, name, value):
    with raises(ValueError, name, repr(value)):
        Tracker(**{name: value})
    cfg.TRACKER[name.upper()] = value
    with raises(ValueError, f"TRACKER.{name.upper()}"):
        build_tracker(cfg.TRACKER)


def detections():
    return torch.tensor([[0.0, 0, 9, 9], [20, 20, 29, 29]]), torch.tensor([0.9, 0.8]), torch.eye(4)[:2] * 5


BAD = (
    (lambda b, s, e: (b.index_fill(0, torch.tensor([1]), torch.nan), s, e), ("box", "finite")),
    (lambda b, s, e: (b[:, [2, 1, 0, 3]], s, e), ("box",)),
    (lambda b, s, e: (b, s / 0 * 0, e), ("score", "finite")),
    (lambda b, s, e: (b, s, e.index_fill(0, torch.tensor([1]), torch.inf)), ("embedding", "finite")),
    (lambda b, s, e: (torch.zeros(2, 5), s, e), ("boxes", "(N, 4)", "(2, 5)")),
    (lambda b, s, e: (b, torch.ones(3), e), ("scores", "(2,)", "(3,)")),
    (lambda b, s, e: (b, s, e[:1]), ("embeddings", "(2, E)", "(1, 4)")),
    (lambda b, s, e: (b, s, e[:, :3]), ("embeddings", 3, 4)),
)


@pytest.mark.parametrize("change, data", BAD)
def test_bad_detections_are_named_and_change_nothing(change, data):
    tracker = Tracker(**PRESETS["tao"])
    tracker.update(*detections(), 0)
    with raises(ValueError, *data):
        tracker.update(*change(*detections()), 1)
    assert tracker.update(*detections(), 1).tolist() == [0, 1]


def test_the_bad_row_is_reported():
    boxes, scores, embeddings = detections()
    embeddings[1, 2] = torch.nan
    with raises(ValueError, 1, 2):
        Tracker(**PRESETS["tao"]).update(boxes, scores, embeddings, 0)


@pytest.mark.parametrize("index", [5, 4, 0])
def test_frame_index_must_increase(index):
    tracker = Tracker(**PRESETS["tao"])
    tracker.update(*detections(), np.int64(5))
    with raises(ValueError, index, 5):
        tracker.update(*detections(), index)
    assert tracker.update(*detections(), 6).tolist() == [0, 1]


@pytest.mark.parametrize("rate, frames", [(10, 25), (30, 75), (1, 2), (0.1, 1)])
def test_seconds_of_memory_become_frames_by_the_rate(rate, frames):
    for gap, remembered in ((frames, True), (frames + 1, False)):
        tracker = Tracker(**dict(PRESETS["tao"], memory_seconds=2.5))
        tracker.reset(rate)
        assert tracker.memory_frames == frames
        tracker.update(*detections(), 0)
        assert (tracker.update(*detections(), gap).tolist() == [0, 1]) == remembered


def test_seconds_of_memory_need_a_rate_and_frames_of_memory_do_not():
    tracker = Tracker(**dict(PRESETS["tao"], memory_seconds=2.5))
    for reset in (lambda: None, tracker.reset, lambda: (tracker.reset(30), tracker.reset())):
        reset()
        with raises(ValueError, "memory_seconds", 2.5, "frame_rate"):
            tracker.update(*detections(), 0)
    plain = Tracker(**PRESETS["tao"])
    plain.reset(30)
    assert plain.memory_frames == 10


def test_a_model_names_the_key_of_seconds_without_a_rate(cfg):
    cfg.TRACKER.MEMORY_SECONDS = 2.5
    boxes, scores, embeddings = detections()
    found = Instances((32, 32), pred_boxes=Boxes(boxes), scores=scores, embeddings=embeddings)
    tracker = build_tracker(cfg.TRACKER)
    with raises(ValueError, "TRACKER.MEMORY_SECONDS", 2.5):
        VideoState(tracker).associate(found, 0)
    assert VideoState(tracker, frame_rate=10.0).associate(found, 0).tolist() == [0, 1]


def test_frame_index_must_be_an_integer():
    with raises(ValueError, 1.5):
        Tracker(**PRESETS["tao"]).update(*detections(), 1.5)
