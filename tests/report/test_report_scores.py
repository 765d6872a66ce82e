"""The comparison with a ground truth: which images the frames are, the scores, and the worst tracks."""

import json
import sys

import numpy as np
import pytest
from helpers.made_runs import SIZE, make_frame, write_report
from helpers.made_truth import make_gt, run_with_failures
from helpers.messages import raises

from effowt_d2.evaluation import GroundTruthError, evaluate_tao_ow
from effowt_d2.evaluation.groups import tao_groups
from effowt_d2.evaluation.switches import follow
from effowt_d2.report import ReportWriter
from effowt_d2.report.failures import most_missed, most_switched
from effowt_d2.report.image_crops import decode
from effowt_d2.report.truth import VideoTruth
from effowt_d2.video import open_results


@pytest.mark.parametrize("named", [False, True])
def test_the_table_is_that_of_the_evaluation(tmp_path, named):
    gt = make_gt(tmp_path / "gt.json")
    frames = run_with_failures(named=named)
    scores = write_report(tmp_path / "r.html", frames, gt=gt).data["scores"]
    with open_results(tmp_path / "results.json") as results:
        for tracks in frames:
            results.write(tracks)
    expected = evaluate_tao_ow(str(gt), str(tmp_path / "results.json"))
    for row in scores["table"]:
        for name in ("OWTA", "D.Re", "A.Acc"):
            assert row[name] == pytest.approx(expected[row["subset"]][name], abs=0.005)
    assert [(row["subset"], row["tracks"]) for row in scores["table"]] == [("all", 3), ("known", 1), ("unknown", 2)]
    assert scores["table"][0]["OWTA"] not in (0, 100)
    assert (scores["images"], scores["of"], scores["matched_by"]) == (8, 8, "name" if named else "frame_index")
    assert (scores["video"], scores["file"]) == ("a/clip", gt.name)


def test_missed_and_switched_tracks_come_with_images_of_them(tmp_path):
    gt = make_gt(tmp_path / "gt.json")
    scores = write_report(tmp_path / "r.html", run_with_failures(), gt=gt).data["scores"]
    (missed,), (switched,) = scores["missed"], scores["switched"]
    assert (missed["id"], missed["name"], missed["missed"], missed["frames"]) == (3, "fox", 6, 8)
    assert (switched["id"], switched["name"], switched["switches"]) == (2, "<b>owl</b>", 1)
    assert [picture["held_by"] for picture in missed["pictures"]] == [-1]
    assert [(p["time"], p["held_by"]) for p in switched["pictures"]] == [(0.3, 20), (0.4, 21)]
    picture = missed["pictures"][0]
    image = decode(picture["jpeg"])
    assert image.shape == (picture["height"], picture["width"], 3) and max(image.shape) == 320
    # the true box, 20 of 60 pixels wide and in the middle but for the frame's upper edge, is drawn in white and black
    edge = image[80, 95:118].max(axis=1).astype(int)
    assert edge.max() > 200 or edge.min() < 10


def test_only_the_frames_seen_count(tmp_path):
    gt = make_gt(tmp_path / "gt.json")
    scores = write_report(tmp_path / "r.html", run_with_failures()[:2], gt=gt).data["scores"]
    assert (scores["images"], scores["of"]) == (2, 8)
    assert scores["table"][0]["D.Re"] > 90 and scores["missed"] == scores["switched"] == []


def test_boxes_are_compared_in_the_pixels_of_the_annotated_images(tmp_path):
    small = write_report(tmp_path / "a.html", run_with_failures(), gt=make_gt(tmp_path / "gt.json")).data["scores"]
    large = make_gt(tmp_path / "large.json", size=(4 * SIZE[0], 4 * SIZE[1]))
    scores = write_report(tmp_path / "b.html", run_with_failures(), gt=large).data["scores"]
    assert scores["table"] == small["table"]
    assert [track["pictures"] for track in scores["missed"]] == [track["pictures"] for track in small["missed"]]


def test_sparsely_annotated_videos(tmp_path):
    gt = make_gt(tmp_path / "gt.json", frames=3, step=4)
    scores = write_report(tmp_path / "r.html", run_with_failures(9), gt=gt).data["scores"]
    assert (scores["images"], scores["of"]) == (3, 3)
    assert scores["missed"][0]["missed"] == 2


def test_frames_that_are_not_annotated_are_no_error(tmp_path):
    gt = make_gt(tmp_path / "gt.json")
    frames = [make_frame(t, [(1, 5, 5, 9, 9, 0.5)]) for t in range(50, 53)]
    scores = write_report(tmp_path / "r.html", frames, gt=gt).data["scores"]
    assert scores["why"] == "none of the frames is an annotated image of this video" and "table" not in scores
    without = write_report(tmp_path / "r.html", [make_frame(0, [])], gt=gt).data["scores"]
    assert without["table"][0]["OWTA"] == 0 and len(without["missed"]) == 3


def test_results_that_can_not_be_scored_leave_a_page_that_gives_the_reason(tmp_path):
    frames = [make_frame(0, [(1, 5, 5, 9, 9, 1.5)])]
    page = write_report(tmp_path / "r.html", frames, gt=make_gt(tmp_path / "gt.json"))
    assert "'score' 1.5 must lie in [0, 1]" in page.data["scores"]["why"] and len(page.frames) == 1


def test_without_the_groups_of_tao_the_page_gives_the_reason(tmp_path, monkeypatch):
    gt = make_gt(tmp_path / "gt.json")
    data = json.loads(gt.read_text())
    del data["open_world"]
    data["categories"] = [{"id": 805, "name": "person"}]
    for entry in (*data["annotations"], *data["tracks"]):
        entry["category_id"] = 805
    gt.write_text(json.dumps(data))
    monkeypatch.setitem(sys.modules, "trackeval.datasets", None)
    tao_groups.cache_clear()
    page = write_report(tmp_path / "r.html", run_with_failures(), gt=gt)
    assert "pip install trackeval" in page.data["scores"]["why"] and len(page.frames) == 8


def test_without_groups_of_any_kind_all_objects_are_scored_as_one(tmp_path):
    gt = make_gt(tmp_path / "gt.json")
    gt.write_text(json.dumps({key: value for key, value in json.loads(gt.read_text()).items() if key != "open_world"}))
    page = write_report(tmp_path / "r.html", run_with_failures(), gt=gt)
    assert [row["subset"] for row in page.data["scores"]["table"]] == ["all"]


def test_images_come_from_the_frames_kept(tmp_path):
    gt = make_gt(tmp_path / "gt.json", frames=40)
    page = write_report(tmp_path / "r.html", run_with_failures(40), gt=gt, max_bytes=100_000)
    assert page.data["stride"] > 1
    (switched,) = page.data["scores"]["switched"]
    before, after = switched["pictures"]
    assert before["held_by"] == 20 and after["held_by"] == 21
    kept = [frame["time"] for frame in page.frames]
    assert before["time"] in kept and after["time"] in kept


@pytest.mark.parametrize(
    "source, video",
    [
        ("data/b/clip", "b/clip"),
        (["data/b/clip/0001.jpg", "data/b/clip/0002.jpg"], "b/clip"),
        ("c/other.mp4", "a/other"),
        ("./a/clip", "a/clip"),
        ("x/a/clip/*.jpg", "a/clip"),
        ("c/v1.2", "v1.2"),
    ],
)
def test_the_video_is_identified_by_the_path(tmp_path, source, video):
    gt = make_gt(tmp_path / "gt.json", videos=("a/clip", "b/clip", "a/other", "v1.2"))
    assert VideoTruth(gt, source).name == video


@pytest.mark.parametrize("source", ["clip.mp4", "unheard/of", None, []])
def test_a_video_that_can_not_be_identified_is_an_error_that_lists_them(tmp_path, source):
    gt = make_gt(tmp_path / "gt.json", videos=("a/clip", "b/clip", "a/other"))
    with raises(GroundTruthError, "a/clip", "b/clip"):
        ReportWriter(tmp_path / "r.html", fps=10, settings={"input": source}, gt=gt)


def test_a_bad_ground_truth_is_refused_before_the_run(tmp_path):
    (tmp_path / "gt.json").write_text("[]")
    with raises(GroundTruthError, "gt.json", "list of 0 entries"):
        ReportWriter(tmp_path / "r.html", fps=10, settings={}, gt=tmp_path / "gt.json")
    with pytest.raises(FileNotFoundError):
        ReportWriter(tmp_path / "r.html", fps=10, settings={}, gt=tmp_path / "gone.json")
    data = json.loads(make_gt(tmp_path / "gt.json").read_text())
    (tmp_path / "gt.json").write_text(json.dumps(dict(data, open_world=dict(known=[1, "2"]))))
    with raises(ValueError, "gt.json", "open_world", "known", "2"):
        ReportWriter(tmp_path / "r.html", fps=10, settings={}, gt=tmp_path / "gt.json")
    assert [file.name for file in tmp_path.iterdir()] == ["gt.json"]


def test_who_holds_an_object_keeps_it():
    gt = np.array([[0.0, 0, 10, 10]])
    exact, near = gt[0], gt[0] + [0, 0, 0, 4]
    # a second result comes and fits better, which is no change of hands; then the first is gone
    ids = [np.array([5]), np.array([5, 6]), np.array([6])]
    boxes = [near[None], np.stack([near, exact]), exact[None]]
    (track,) = follow([np.array([1])] * 3, [gt] * 3, ids, boxes)
    assert track.held_by == [5, 5, 6] and track.switches() == [(1, 2)]


def test_a_gap_is_a_miss_and_no_switch_and_the_worst_come_first():
    here, none = np.array([[0.0, 0, 10, 10]]), np.zeros((0, 4))
    far = here + [100, 0, 0, 0]
    gt_ids, gt_boxes = [np.array([1, 2])] * 4, [np.concatenate([here, far])] * 4
    ids = [np.array([7, 8]), np.array([7]), np.array([9]), np.zeros(0, dtype=np.int64)]
    boxes = [np.concatenate([here, far]), here, far, none]
    one, two = follow(gt_ids, gt_boxes, ids, boxes)
    assert one.held_by == [7, 7, -1, -1] and one.switches() == []
    assert two.held_by == [8, -1, 9, -1] and two.switches() == [(0, 2)]
    assert most_missed([one, two], 1) == [one] and most_switched([one, two], 5) == [two]


def test_half_an_overlap_is_needed():
    gt = np.array([[0.0, 0, 10, 10]])
    held = [
        follow([np.array([1])], [gt], [np.array([4])], [np.array([[0.0, 0, 10, height]])])[0].held_by
        for height in (4.9, 5.0)
    ]
    assert held == [[-1], [4]]
