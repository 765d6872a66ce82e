"""Kept detections give the tracks that the model gives; the search gets better; oracles replace what they say."""

import json
import sys

import numpy as np
import pytest
import torch
from helpers import small_shapes
from helpers.messages import assert_says
from tracker_lab.detections import FrameDetections, load_detections, save_detections, videos_of
from tracker_lab.score import oracle_scores, recall_at, track, tracking_scores
from tracker_lab.search import SPACE, search
from tune_tracker import main

from effowt_d2.evaluation.ground_truth import load_ground_truth
from effowt_d2.tracking import get_preset

SOURCE = {"MODEL.WEIGHTS": "a", "MODEL or INPUT": "c", "dataset": "train", "TEST.DETECTIONS_PER_IMAGE": "10"}
SETTINGS = dict(get_preset("tao"), match_score=0.3)
SETTINGS.pop("memory_seconds")


def truth(tracks):
    """A video of len(tracks) frames of 100 x 100 pixels; tracks: per frame {track id: x, y, w, h}."""
    annotations = [
        {"image_id": i, "track_id": t, "bbox": list(b), "category_id": 1}
        for i, frame in enumerate(tracks, 1)
        for t, b in frame.items()
    ]
    return load_ground_truth(
        {
            "videos": [{"id": 1, "name": "v"}],
            "images": [
                {"id": i, "video_id": 1, "frame_index": i, "width": 100, "height": 100, "file_name": f"{i}.jpg"}
                for i in range(1, len(tracks) + 1)
            ],
            "annotations": [
                {**a, "id": n, "video_id": 1, "area": 1.0, "iscrowd": 0} for n, a in enumerate(annotations, 1)
            ],
            "categories": [{"id": 1, "name": "thing"}],
            "tracks": [{"id": t, "category_id": 1, "video_id": 1} for t in {t for f in tracks for t in f}],
        }
    )


def detections(frames):
    """frames: per frame a list of (box x, y, w, h, score, embedding direction)."""
    made = []
    for i, found in enumerate(frames, 1):
        boxes = torch.tensor([[x, y, x + w, y + h] for (x, y, w, h), _, _ in found], dtype=torch.float32).reshape(-1, 4)
        scores = torch.tensor([score for _, score, _ in found], dtype=torch.float32)
        embeddings = torch.eye(4)[[direction for _, _, direction in found]]
        made.append(FrameDetections(1, i, i, 30.0, boxes, scores, embeddings))
    return made


BOX, OTHER = (10, 10, 20, 20), (60, 60, 30, 30)
TRUTH = [{1: BOX, 2: OTHER}] * 4


def test_files_hold_what_was_found(tmp_path):
    frames = detections([[(BOX, 0.9, 0)], [], [(BOX, 0.8, 0), (OTHER, 0.7, 1)]])
    # the name is kept as it is
    save_detections(frames, tmp_path / "found", SOURCE)
    loaded = load_detections(tmp_path / "found", SOURCE)
    for before, after in zip(frames, loaded, strict=True):
        assert (before.image_id, before.frame_rate) == (after.image_id, after.frame_rate)
        assert torch.equal(before.boxes, after.boxes) and torch.equal(before.embeddings, after.embeddings)
    assert [len(video) for video in videos_of(loaded)] == [3]


def test_detections_of_something_else_are_refused(tmp_path):
    save_detections(detections([[(BOX, 0.9, 0)]]), tmp_path / "found.npz", SOURCE)
    limit = "TEST.DETECTIONS_PER_IMAGE"
    assert load_detections(tmp_path / "found.npz", {**SOURCE, limit: "5"})
    for name, value in (("MODEL.WEIGHTS", "b"), ("dataset", "val"), (limit, "300")):
        with pytest.raises(ValueError) as problem:
            load_detections(tmp_path / "found.npz", {**SOURCE, name: value})
        assert_says(str(problem.value), tmp_path / "found.npz", f"another {name}")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", "array", "columns", "cut"])
def test_files_without_detections_are_an_error(tmp_path, content):
    file = tmp_path / "found.npz"
    save_detections(detections([[(BOX, 0.9, 0)]]), file, SOURCE)
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    else:
        with open(file, "wb") as stream:
            np.savez(stream, boxes=np.zeros(3)) if content == "columns" else np.save(stream, np.zeros(3))
    with pytest.raises(ValueError) as problem:
        load_detections(file, SOURCE)
    assert_says(str(problem.value), file, *(["embeddings"] if content == "columns" else []))


def test_a_perfect_detector_and_a_clear_look_score_full():
    gt, frames = truth(TRUTH), detections([[(BOX, 0.9, 0), (OTHER, 0.8, 1)]] * 4)
    assert tracking_scores(gt, track(frames, SETTINGS))["all"] == {"OWTA": 100, "D.Re": 100, "A.Acc": 100}
    # the second object is left out by the limit
    assert tracking_scores(gt, track(frames, SETTINGS, limit=1))["all"]["D.Re"] == 50
    assert recall_at(gt, frames, 1) == {"AR": 50, "R50": 50, "R75": 50}


def test_oracles_replace_one_part_each():
    # looks change from frame to frame, one object is off by half of its size, the other missing in two frames
    shifted = (14, 10, 20, 20)
    gt = truth(TRUTH)
    frames = detections([[(shifted, 0.9, i % 4)] + [(OTHER, 0.8, (i + 2) % 4)] * (i < 2) for i in range(4)])
    scores = oracle_scores(gt, track(frames, dict(SETTINGS, appearance="cosine", match_score=0.9)))
    assert scores["association"]["A.Acc"] > scores["none"]["A.Acc"]
    assert scores["association"]["D.Re"] == scores["none"]["D.Re"]
    assert scores["localisation"]["D.Re"] == 75 > scores["none"]["D.Re"]
    assert scores["recall"]["D.Re"] > scores["none"]["D.Re"]


def test_a_search_keeps_its_start_repeats_and_stays_in_its_space():
    start = {name: values[0] for name, values in SPACE.items()}

    def score(settings):
        return -abs(settings["match_score"] - 0.5)

    trials = list(search(score, trials=60, seed=3, start=start))
    assert trials[0] == (score(start), start) and len(trials) == 60
    assert trials == list(search(score, trials=60, seed=3, start=start))
    assert max(t[0] for t in trials) > score(start)
    for _, settings in trials[1:]:
        for name, values in SPACE.items():
            inside = settings[name] in values if isinstance(values, list) else values[0] <= settings[name] <= values[1]
            assert inside or name == "init_score"
        assert settings["init_score"] >= settings["keep_score"]


def test_the_program_tracks_as_the_model_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with small_shapes.registered(tmp_path):
        args = ["--config-file", "quick/shapes_ow_effowt.yaml", "--dataset", "mini_val", "--threads", "1"]
        args += ["--detections", str(tmp_path / "found.npz"), "--json", str(tmp_path / "figures.json")]
        opts = ["--opts", "MODEL.WEIGHTS", "effowt://quick/shapes_ow_effowt", "INPUT.MIN_SIZE_TEST", "96"]
        assert main([*args, "--trials", "6", "--folds", "3", *opts]) == 0
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures["chosen"]["OWTA"] >= figures["config"]["OWTA"] > 0
        assert set(figures["oracles"]) == {"none", "association", "localisation", "recall"}
        assert figures["oracles"]["none"] == figures["chosen"]
        assert "TRACKER.MATCH_SCORE" in capsys.readouterr().out
        assert main(["--config-file", "quick/shapes_ow_effowt.yaml", "--dataset", "nothing", *args[4:]]) == 2
        assert_says(capsys.readouterr().out, "nothing", "mini_val")
        # detections of other sizes, more folds than videos, no dataset
        for more, says in (
            (["--trials", "0", *opts[:-1], "128"], ["found.npz", "another MODEL or INPUT"]),
            (["--folds", "99", *opts], ["--folds", 99, "mini_val"]),
            (["--dataset", "", *opts, "DATASETS.TEST", "()"], ["DATASETS.TEST", "--dataset"]),
        ):
            assert main([*args, *more]) == 2
            assert_says(capsys.readouterr().out, *says)
