"""Files in, numbers out: what section 3 of the specification says follows, with numbers worked by hand."""

import copy
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from helpers import shared_data
from helpers.messages import assert_says, raises
from helpers.random_sets import DISTRACTOR, KNOWN, NO_GROUP, UNKNOWN, category_list, random_set, write

from effowt_d2.evaluation import CategoryGroups, evaluate_tao_ow, evaluate_with_trackeval, format_table
from effowt_d2.evaluation.groups import tao_groups

BOX, ELSEWHERE = [10.0, 10.0, 20.0, 20.0], [60.0, 60.0, 20.0, 20.0]
SUBSETS = ("all", "known", "unknown", "distractor")


def one_track(category=KNOWN, frames=3, **video):
    """A ground truth with one object standing still, and results that follow it."""
    lists = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    gt = {
        "videos": [{"id": 1, "name": "a", **lists, **video}],
        "images": [{"id": 10 + t, "video_id": 1, "frame_index": t} for t in range(frames)],
        "tracks": [{"id": 5, "category_id": category, "video_id": 1}],
        "annotations": [annotation(10 + t, category=category) for t in range(frames)],
        "categories": category_list(),
        "info": {},
        "licenses": [],
    }
    return gt, [result(10 + t) for t in range(frames)]


def annotation(image, box=BOX, track=5, category=KNOWN, video=1):
    return {"image_id": image, "video_id": video, "track_id": track, "category_id": category, "bbox": box}


def result(image, box=BOX, track=1, score=0.9, video=1):
    entry = {"image_id": image, "video_id": video, "track_id": track, "category_id": 1}
    return {**entry, "bbox": box, "score": score}


def numbers(gt, results, subset="all", **kwargs):
    score = evaluate_tao_ow(gt, results, [subset], **kwargs)[subset]
    return pytest.approx((score["D.Re"], score["A.Acc"], score["OWTA"]))


def test_worked_example_of_the_documentation():
    gt, results = one_track()
    assert numbers(gt, results) == (100, 100, 100)
    results[2]["bbox"] = ELSEWHERE
    assert numbers(gt, results) == (200 / 3, 50, 100 / 3**0.5)


def test_extra_track_costs_nothing():
    gt, results = one_track()
    results += [result(10 + t, ELSEWHERE, track=2) for t in range(3)]
    assert numbers(gt, results) == (100, 100, 100)


def test_results_on_images_without_ground_truth_are_ignored():
    gt, results = one_track()
    gt["images"].append({"id": 99, "video_id": 1, "frame_index": 9})
    assert numbers(gt, results + [result(99, ELSEWHERE)]) == (100, 100, 100)
    # the same image with another object in it: now the matched track has strayed
    gt["annotations"].append(annotation(99, BOX, track=6))
    assert numbers(gt, results + [result(99, ELSEWHERE)]) == (75, 75, 75)


def test_category_1_not_exhaustive_removes_unmatched_results():
    gt, results = one_track(not_exhaustive_category_ids=[1])
    results[2]["bbox"] = ELSEWHERE
    # the stray result is taken out before scoring: 2 / (3 + 2 - 2)
    assert numbers(gt, results) == (200 / 3, 200 / 3, 200 / 3)
    gt["videos"][0]["not_exhaustive_category_ids"] = [KNOWN]
    assert numbers(gt, results) == (200 / 3, 50, 100 / 3**0.5)


@pytest.mark.parametrize(
    "category, member", [(KNOWN, "known"), (UNKNOWN, "unknown"), (DISTRACTOR, "distractor"), (NO_GROUP, None)]
)
def test_groups_of_tao(category, member):
    scores = evaluate_tao_ow(*one_track(category), SUBSETS)
    assert {subset for subset in SUBSETS if scores[subset]["OWTA"] == 100} == {"all", member} - {None}


def test_merging_moves_nothing_between_groups():
    gt, results = one_track(504)  # a distractor merged into the known category 805
    gt["categories"] = [{"id": 805, "name": "person", "merged": [{"id": 504, "name": "glass"}]}]
    scores = evaluate_tao_ow(gt, results, SUBSETS)
    assert scores["known"]["OWTA"] == 0 and scores["distractor"]["OWTA"] == 100


def test_tao_group_sizes_and_members():
    groups = tao_groups()
    assert len(groups.known) == 78 and len(groups.distractor) == 45
    assert groups.unknown == frozenset(range(1, 2000)) - groups.known - groups.distractor


def test_groups_in_the_file_and_given_ones_override_tao():
    gt, results = one_track(KNOWN)
    gt["open_world"] = {"known": [7], "distractor": []}
    assert numbers(gt, results, "unknown") == (100, 100, 100)
    assert numbers(gt, results, "known", groups={"known": [KNOWN]}) == (100, 100, 100)
    groups = CategoryGroups(known=frozenset(), distractor=frozenset([KNOWN]))
    assert numbers(gt, results, "distractor", groups=groups) == (100, 100, 100)


@pytest.mark.parametrize(
    "groups",
    [{"distractor": [1]}, {"known": [1], "distractor": [1]}, {"known": [1.5]}, {"known": [1], "other": []}],
)
def test_bad_groups(groups):
    with raises(ValueError, "open_world"):
        evaluate_tao_ow({**one_track()[0], "open_world": groups}, [])


def test_highest_scores_are_kept_and_ties_by_file_order():
    gt, results = one_track(frames=1)
    crowd = [result(10, ELSEWHERE, track=2 + i, score=0.9) for i in range(300)]
    assert numbers(gt, crowd + results) == (0, 0, 0)
    assert numbers(gt, results + crowd) == (100, 100, 100)
    assert numbers(gt, crowd + results, max_detections=0) == (100, 100, 100)
    results[0]["score"] = 0.91
    assert numbers(gt, crowd + results) == (100, 100, 100)


def test_shared_track_ids_are_distinguished_with_a_counted_warning(caplog):
    gt, results = one_track(frames=2)
    gt["videos"].append({**gt["videos"][0], "id": 2, "name": "b"})
    gt["images"][1]["video_id"] = gt["annotations"][1]["video_id"] = results[1]["video_id"] = 2
    gt["annotations"][1]["track_id"] = 6
    with caplog.at_level(logging.WARNING):
        assert numbers(gt, results) == (100, 100, 100)
    assert_says(caplog.text, 1, "track ids")


def test_missing_video_ids_are_filled_with_a_counted_warning(caplog):
    gt, results = one_track()
    del results[0]["video_id"], results[2]["video_id"]
    with caplog.at_level(logging.WARNING):
        assert numbers(gt, results) == (100, 100, 100)
    assert_says(caplog.text, 2, "video_id")


def test_clean_input_warns_of_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        evaluate_tao_ow(*one_track(), subsets=["all", "known"])
    assert not caplog.records


def test_file_list_and_arrays_give_the_same(tmp_path):
    gt, results = random_set(4, faults=("ties", "shuffled"))
    gt_file, results_file = write(tmp_path, gt, results)
    columns = {name: np.array([entry[name] for entry in results]) for name in results[0]}
    before = copy.deepcopy((gt, results))
    forms = (Path(results_file), results, columns)
    scores = [evaluate_tao_ow(g, r, SUBSETS) for g in (gt_file, gt) for r in forms]
    assert 0 < scores[0]["all"]["OWTA"] < 100 and all(score == scores[0] for score in scores)
    assert (gt, results) == before


@pytest.mark.parametrize(
    "arguments, data",
    [
        ({"subsets": ["novel"]}, ["novel", *SUBSETS]),
        ({"subsets": "all"}, ["subsets", "'all'"]),
        ({"subsets": []}, ["subsets", "[]"]),
        ({"max_detections": -1}, ["max_detections", -1]),
        ({"max_detections": 2.5}, ["max_detections", 2.5]),
        ({"workers": -1}, ["workers", -1]),
    ],
)
def test_bad_arguments(arguments, data):
    with raises(ValueError, *data):
        evaluate_tao_ow(*one_track(), **arguments)


def test_table_has_a_row_a_subset():
    table = format_table(evaluate_tao_ow(*one_track())).splitlines()
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == ["subset", "objects", "OWTA", "D.Re", "A.Acc"]
    assert [cell.strip() for cell in table[2].strip("|").split("|")] == ["all", "1", "100.00", "100.00", "100.00"]
    assert len(table) == 5


def test_real_sequences_equal_trackeval(tmp_path):
    """DAVIS sequences, whose objects are followed with noise, gaps, changes of id and clutter."""
    file, rng = shared_data("davis_tao", "annotations", "validation.json"), np.random.default_rng(0)
    results = []
    for entry in json.loads(file.read_text())["annotations"]:
        track = 10 * entry["track_id"] + int(rng.random() < 0.2)
        for number in range(rng.integers(1, 5)):
            box = np.array(entry["bbox"]) + rng.normal(0, 12, 4) + number * 40
            box = np.maximum(box, 0).tolist()
            results.append(result(entry["image_id"], box, track + 2 * number, video=entry["video_id"]))
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    scores = evaluate_tao_ow(file, path, SUBSETS)
    for subset in SUBSETS:
        for name, curve in evaluate_with_trackeval(str(file), str(path), subset).items():
            np.testing.assert_allclose(scores[subset]["per_alpha"][name], curve, rtol=0, atol=1e-9)
    assert 0 < scores["known"]["OWTA"] < 100 and 0 < scores["unknown"]["OWTA"] < 100
