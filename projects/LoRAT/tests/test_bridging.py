"""Frames that the detector misses are bridged by a tracker of given objects."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from helpers.tiny_detector import picture, tiny_config
from sot import add_config

FIRST = [[10.0, 10, 40, 40], [50, 20, 80, 60]]


def model(folder, architecture="BridgedTracker", **keys):
    torch.manual_seed(0)
    cfg = tiny_config(MODEL__META_ARCHITECTURE=architecture)
    add_config(cfg)
    node = cfg.MODEL.SOT.BRIDGE
    node.CONFIG, node.MIN_SCORE, node.MAX_FRAMES = str(folder / "config.yaml") if folder else "", 0.0, 2
    for name, value in keys.items():
        node[name] = value
    return build_model(cfg).eval()


def run(model, frames):
    """Ids, boxes and scores of frames whose detections are given: boxes in pixels of 96 x 64."""
    state, found = model.start(), []
    for number, boxes in enumerate(frames):
        boxes = torch.tensor(boxes).reshape(-1, 4)
        given = Instances((64, 96), pred_boxes=Boxes(boxes), scores=torch.full((len(boxes),), 0.9))
        given.pred_classes = torch.zeros(len(boxes), dtype=torch.int64)
        # given out at twice the size
        x = {"image": picture(0), "state": state, "frame_index": number, "height": 128, "width": 192}
        tracks = model.inference([x], [given])[0]["instances"]
        assert tracks.has("pred_classes") and len(tracks.pred_classes) == len(tracks)
        found.append((tracks.track_ids.tolist(), tracks.pred_boxes.tensor, tracks.scores))
    return found


def test_a_missed_track_is_followed_for_a_while(trained):
    found = run(model(trained), [FIRST, FIRST[:1], FIRST[:1], FIRST[:1], FIRST])
    first = found[0][0]
    kept = next(number for number, box in zip(first, found[0][1]) if box[0] < 60)
    (missed,) = set(first) - {kept}
    assert [missed in ids for ids, _, _ in found] == [True, True, True, False, True]
    for ids, boxes, scores in found[1:3]:
        assert ids == [kept, missed] and 0 < scores[1] < 0.9
        assert boxes.min() >= 0 and boxes[1, 2] <= 192 and boxes[1, 3] <= 128
        torch.testing.assert_close(boxes[0], found[0][1][first.index(kept)])


def test_it_follows_as_the_tracker_alone_does(trained):
    bridged = model(trained)
    found = run(bridged, [FIRST[1:], [], []])
    follower, image = bridged.bridge.follower, picture(0).flip(0)
    state = follower.start(image, FIRST[1:])
    for _, boxes, scores in found[1:]:
        state, tracks = follower.step(state, image)
        torch.testing.assert_close(boxes, tracks.pred_boxes.tensor.float() * 2, rtol=0, atol=1e-3)
        torch.testing.assert_close(scores, 0.9 * tracks.scores)


def test_what_ends_a_bridge(trained):
    # a follower that is never sure, tracks that were never sure, no follower, and a detection in the same place
    for keys in ({"MIN_SCORE": 1.0}, {"MIN_TRACK_SCORE": 0.95}, {"CONFIG": ""}):
        assert [len(ids) for ids, _, _ in run(model(trained, **keys), [FIRST, [], []])] == [2, 0, 0]
    bridged = model(trained)
    place = run(bridged, [FIRST[1:], []])[1][1][0] / 2
    # without an id: no track is as like it
    bridged.tracker.match_score = bridged.tracker.init_score = 1.0
    assert [len(ids) for ids, _, _ in run(bridged, [FIRST[1:], [place.tolist()]])] == [1, 1]


def test_off_it_is_the_open_world_tracker(trained):
    frames = [FIRST, FIRST[:1], FIRST]
    plain, off = run(model(None, "OpenWorldTracker"), frames), run(model(None), frames)
    for one, other in zip(plain, off):
        assert one[0] == other[0] and one[1].equal(other[1]) and one[2].equal(other[2])
    # and the follower's weights are in no checkpoint of the model
    assert set(model(trained).state_dict()) == set(model(None).state_dict())


def test_what_is_no_follower_is_named(trained, tmp_path):
    with pytest.raises(ValueError, match="MODEL.SOT.BRIDGE.CONFIG"):
        model(trained, CONFIG="quick/shapes_ow_effowt.yaml")
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        model(trained, CONFIG=str(tmp_path / "nowhere.yaml"))
    text = (trained / "config.yaml").read_text().replace(str(trained / "model.pth"), "''")
    (tmp_path / "bare.yaml").write_text(text)
    with pytest.raises(ValueError, match="MODEL.SOT.BRIDGE.WEIGHTS"):
        model(trained, CONFIG=str(tmp_path / "bare.yaml"))
