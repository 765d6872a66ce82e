"""Given boxes followed through videos: ``VideoTracker.follow`` and ``effowt-track --box``."""

import json

import numpy as np
import pytest
import torch
from helpers.turning_camera import overlaps_of_a_dog

from effowt_d2 import VideoTracker
from effowt_d2.cli.track import main


def test_every_frame_has_every_object(trained, followed_clip):
    tracker = VideoTracker(str(trained / "config.yaml"))
    boxes = [[10.0, 10, 50, 40], [60, 20, 100, 80]]
    found = list(tracker.follow(str(trained / "frames"), boxes))
    assert [len(frame.boxes) for frame in found] == [2] * 5 and found[0].scores.tolist() == [1, 1]
    np.testing.assert_allclose(found[0].boxes, boxes)
    assert all(frame.ids.tolist() == [0, 1] for frame in found)
    assert not np.array_equal(found[-1].boxes, found[0].boxes)
    # ids are unique over the videos of a tracker, and the results those of the model's own steps
    again = list(tracker.follow(followed_clip.frames, boxes[:1], fps=10))
    assert again[0].ids.tolist() == [2]
    np.testing.assert_allclose(again[-1].boxes[0], found[-1].boxes[0], atol=1e-3)
    model = tracker._predictor.model
    frames = torch.from_numpy(followed_clip.frames[..., ::-1].copy()).permute(0, 3, 1, 2)
    state = model.start(frames[0], boxes[:1])
    for frame in frames[1:]:
        state, tracks = model.step(state, frame)
    np.testing.assert_allclose(again[-1].boxes, tracks.pred_boxes.tensor, atol=1e-3)


def test_the_shipped_tracker_keeps_a_dog_while_the_camera_turns():
    overlaps = overlaps_of_a_dog("projects/LoRAT/configs/real/lorat_real_s.yaml")
    # a box that stays has none in the end
    assert overlaps.min() > 0.25, overlaps


def test_smaller_frames_inside_the_model(trained):
    tracker = VideoTracker(str(trained / "config.yaml"), max_side=64)
    found = list(tracker.follow(str(trained / "frames"), [[10.0, 10, 50, 40]]))
    np.testing.assert_allclose(found[0].boxes, [[10, 10, 50, 40]], atol=1e-4)
    assert found[-1].boxes.max() <= 128


def test_the_command_line_follows(trained, tmp_path, capsys):
    given = ["--config-file", str(trained / "config.yaml"), "--input", str(trained / "frames")]
    given += ["--results", str(tmp_path / "tracks.json"), "--report", str(tmp_path / "report.html")]
    assert main([*given, "--output", str(tmp_path / "out.mp4"), "--box", "10,10,40,30", "--box", "60,20,40,60"]) == 0
    results = json.loads((tmp_path / "tracks.json").read_text())
    entries = results if isinstance(results, list) else results["annotations"]
    assert len(entries) == 10 and entries[0]["bbox"] == pytest.approx([10, 10, 40, 30])
    assert (tmp_path / "out.mp4").stat().st_size > 0 and "5 frames, 2 tracks" in capsys.readouterr().out
    assert main([*given[:4], "--results", str(tmp_path / "none.json")]) == 2
    assert "--box" in capsys.readouterr().err
    assert main([*given[:4], "--results", str(tmp_path / "far.json"), "--box", "500,10,40,30"]) == 2
    assert "128 x 96" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1,2,3", "1,2,three,4", "1,2,0,4", "nan,2,3,4"])
def test_boxes_that_are_none_are_usage_errors(trained, tmp_path, capsys, text):
    with pytest.raises(SystemExit):
        main(["--config-file", "x", "--input", "y", "--results", str(tmp_path / "r.json"), "--box", text])
    assert text in capsys.readouterr().err


def test_models_that_find_objects_take_no_boxes(trained, followed_clip):
    tracker = VideoTracker(str(trained / "config.yaml"))
    with pytest.raises(ValueError, match="LoRAT"):
        tracker.track(str(trained / "frames"))
    for boxes in ([], [1, 2, 3, 4]):
        with pytest.raises(ValueError, match="boxes"):
            tracker.follow(str(trained / "frames"), boxes)
    detector = VideoTracker("quick/shapes_ow_effowt.yaml", device="cpu")
    with pytest.raises(ValueError, match="OpenWorldTracker"):
        detector.follow(followed_clip.frames, [[1, 1, 9, 9]])


def test_tracks_of_a_frame_are_taken_over(trained):
    tracker, frames = VideoTracker(str(trained / "config.yaml")), str(trained / "frames")
    found = list(tracker.follow(frames, [[10.0, 10, 50, 40], [60, 20, 100, 80]]))
    later = found[2].where(found[2].ids == 1)
    taken = list(tracker.follow(frames, later))
    assert [frame.index for frame in taken] == [2, 3, 4] and all(frame.ids.tolist() == [1] for frame in taken)
    np.testing.assert_allclose(taken[0].boxes, later.boxes)
    # another first frame than that of the tracks
    with pytest.raises(ValueError, match="frame 2, the first one taken is 0"):
        next(tracker.follow(frames, later, start=0.0))
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        tracker.follow(frames, later.where(later.ids == 7))
