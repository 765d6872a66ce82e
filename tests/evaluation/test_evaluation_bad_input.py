"""Input that cannot be scored: one error naming file, entry and value."""

import json
import math

import numpy as np
import pytest
from helpers.messages import raises
from test_tao_ow_scores import annotation, one_track, result

from effowt_d2.evaluation import GroundTruthError, ResultsError, evaluate_tao_ow

FIELDS = {
    "image": ({"image_id": 77}, []),
    "video": ({"video_id": 77}, []),
    "other video": ({"video_id": 2}, []),
    "NaN box": ({"bbox": [0.0, 0.0, math.nan, 1.0]}, []),
    "infinite box": ({"bbox": [0.0, -math.inf, 1.0, 1.0]}, []),
    "negative size": ({"bbox": [0.0, 0.0, 5.0, -1.0]}, []),
    "short box": ({"bbox": [0, 0, 5]}, ["4", "[x, y, width, height]"]),
    "long box": ({"bbox": [0, 0, 5, 5, 5]}, ["4", "[x, y, width, height]"]),
    "text in box": ({"bbox": [0, 0, 5, "5"]}, ["[3]", "float", "str"]),
    "no box": ({"bbox": None}, ["[x, y, width, height]"]),
    "score above 1": ({"score": 1.5}, ["[0, 1]"]),
    "score below 0": ({"score": -0.1}, ["[0, 1]"]),
    "NaN score": ({"score": math.nan}, ["[0, 1]"]),
    "infinite score": ({"score": math.inf}, ["[0, 1]"]),
    "text score": ({"score": "0.9"}, ["float", "str"]),
    "true score": ({"score": True}, ["float", "bool"]),
    "fractional id": ({"track_id": 1.5}, ["int", "float"]),
    "whole id as a float": ({"track_id": 2.0}, ["int", "float"]),
    "text id": ({"image_id": "11"}, ["int", "str"]),
    "true id": ({"track_id": True}, ["int", "bool"]),
    "huge id": ({"track_id": 2**64}, ["int", str(2**63 - 1)]),
    "tiny id": ({"image_id": -(2**63) - 1}, ["int", str(-(2**63))]),
    "negative id": ({"track_id": -1}, []),
    "null video": ({"video_id": None}, ["int", "null"]),
    "text category": ({"category_id": "1"}, ["int", "str"]),
}


def two_videos():
    gt, results = one_track()
    gt["videos"].append({**gt["videos"][0], "id": 2, "name": "b"})
    return gt, results


def files(tmp_path, gt, results):
    paths = tmp_path / "gt.json", tmp_path / "results.json"
    for path, content in zip(paths, (gt, results)):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return paths


@pytest.mark.parametrize("change, expected", FIELDS.values(), ids=FIELDS)
def test_wrong_value_in_a_result(change, expected, tmp_path):
    gt, results = two_videos()
    results[1].update(change)
    ((field, value),) = change.items()
    gt_file, results_file = files(tmp_path, gt, results)
    for sources, name in (((gt_file, results_file), results_file), ((gt, results), "results")):
        with raises(ResultsError, f"{name}: entry 1", f"'{field}'", repr(value), *expected):
            evaluate_tao_ow(*sources)


@pytest.mark.parametrize("field", ["image_id", "bbox", "score", "track_id", "category_id"])
def test_missing_field_in_a_result(field, tmp_path):
    gt, results = one_track()
    del results[2][field]
    gt_file, results_file = files(tmp_path, gt, results)
    with raises(ResultsError, f"{results_file}: entry 2", f"'{field}'", *map(repr, results[2])):
        evaluate_tao_ow(gt_file, results_file)


def test_entry_that_is_no_object(tmp_path):
    gt, results = one_track()
    results = [results[0], 3, results[1]]
    gt_file, results_file = files(tmp_path, gt, results)
    for sources, name in (((gt_file, results_file), results_file), ((gt, results), "results")):
        with raises(ResultsError, f"{name}: entry 1", 3, "image_id", "bbox"):
            evaluate_tao_ow(*sources)


def test_fields_that_are_not_read_may_hold_anything(tmp_path):
    gt, results = one_track()
    results[1].update(depth=math.nan, huge=10**400, segmentation={"size": [2, 2], "counts": "}, {"}, parts=[{}, {}])
    scores = evaluate_tao_ow(*files(tmp_path, gt, results))
    assert scores["all"]["OWTA"] == pytest.approx(100) and scores == evaluate_tao_ow(gt, results)


def test_id_twice_in_a_frame(tmp_path):
    gt, results = one_track()
    results.append(result(11, [0, 0, 5, 5]))
    gt_file, results_file = files(tmp_path, gt, results)
    with raises(ResultsError, f"{results_file}: entry 3", "track_id", "entry 1"):
        evaluate_tao_ow(gt_file, results_file)
    # among the results that the limit drops it does no harm, in trackeval neither
    results[-1]["score"] = 0.1
    assert evaluate_tao_ow(gt, results, max_detections=1)["all"]["OWTA"] == pytest.approx(100)


@pytest.mark.parametrize(
    "text, expected",
    [
        ('[{"image_id": 10', ["entry 0", '{"image_id": 10']),
        ('[ENTRY, {"image_id": 10, "bb', ["entry 1", '{"image_id": 10, "bb']),
        ("[ENTRY", ["after 1 entries"]),
        ("[ENTRY,", ["entry 1"]),
        ("[ENTRY ENTRY]", ["after 1 entries", "','"]),
        ("[ENTRY] x", ["after 1 entries", "] x"]),
        ("[ENTRY,]", ["entry 1", "']'"]),
        ("[1, 2]", ["objects", "[1, 2]"]),
        ("ENTRY", ["list", "'videos'", "image_id (int)"]),
        ("", ["list", "''"]),
    ],
)
def test_broken_result_file(text, expected, tmp_path):
    text = text.replace("ENTRY", json.dumps(result(10)))
    gt_file, results_file = files(tmp_path, one_track()[0], text)
    with raises(ResultsError, results_file, *expected):
        evaluate_tao_ow(gt_file, results_file)


@pytest.mark.parametrize("content", [b'[{"a": "\xff"}]', b"\xff\xfe[\x00]\x00"])
def test_no_text_file(content, tmp_path):
    gt, path = files(tmp_path, one_track()[0], "")
    path.write_bytes(content)
    with raises(ResultsError, path, "UTF-8", "0xff"):
        evaluate_tao_ow(gt, path)


def test_arrays_with_wrong_types_and_shapes():
    gt, results = one_track()
    columns = {name: np.array([entry[name] for entry in results]) for name in results[0]}
    bad = {
        "track_id": (columns["track_id"] + 0.5, ["integers", "float64", "1.5"]),
        "bbox": (columns["bbox"][:, :3], ["(3, 3)", "(3, 4)"]),
        "score": (columns["score"][:2], ["(2,)", "(3,)"]),
        "image_id": (columns["image_id"] + 90, ["entry 0", "100"]),
    }
    for name, (column, expected) in bad.items():
        with raises(ResultsError, f"'{name}'", *expected):
            evaluate_tao_ow(gt, {**columns, name: column})
    with raises(ResultsError, "['score']", "'track_id'"):
        evaluate_tao_ow(gt, {name: columns[name] for name in columns if name != "score"})


def change(where, index, **fields):
    return lambda gt: gt[where][index].update(fields)


def drop(where, index, field):
    return lambda gt: gt[where][index].pop(field)


GROUND_TRUTH = {
    "no annotations": (lambda gt: gt.pop("annotations"), ["'annotations'"]),
    "empty annotations": (lambda gt: gt["annotations"].clear(), ["'annotations'"]),
    "unknown image": (change("annotations", 1, image_id=7), ["annotations 1", "'image_id' 7"]),
    "unknown video": (change("images", 1, video_id=7), ["images 1", "'video_id' 7"]),
    "wrong video": (change("annotations", 1, video_id=2), ["annotations 1", "'video_id' 2"]),
    "NaN box": (change("annotations", 2, bbox=[0, 0, math.nan, 1]), ["annotations 2", "'bbox'", "nan"]),
    "inverted box": (change("annotations", 2, bbox=[0, 0, 1, -1]), ["annotations 2", "'bbox'", "-1.0"]),
    "short box": (change("annotations", 2, bbox=[0, 0, 1]), ["annotations 2", "'bbox'", "[0, 0, 1]"]),
    "negative id": (change("annotations", 2, track_id=-4), ["annotations 2", "'track_id'", "-4"]),
    "text id": (change("images", 2, frame_index="3"), ["images 2", "'frame_index'", "'3'", "int", "str"]),
    "id twice": (lambda gt: gt["annotations"].append(annotation(11)), ["annotations 3", "id 11", "track 5"]),
    "no category": (drop("annotations", 0, "category_id"), ["annotations 0", "'category_id'", "'bbox'"]),
    "same image id": (change("images", 2, id=10), ["images 2", "id 10"]),
    "same name": (change("videos", 1, name="a"), ["videos 1", "'a'"]),
    "name of no text": (change("videos", 1, name=5), ["videos 1", "'name'", "5", "str"]),
    "no frame": (drop("images", 2, "frame_index"), ["images 2", "id 12", "'frame_index'"]),
    "no such category": (change("annotations", 1, category_id=3), ["annotations 1", "'category_id' 3"]),
    "category twice": (lambda gt: gt["categories"].append({"id": 805, "name": "b"}), ["categories 8", "'b'", "805"]),
    "same place": (change("images", 2, frame_index=0), ["images 2", "frame_index 0", "video 1"]),
    "list of texts": (change("videos", 1, neg_category_ids=["a"]), ["videos 1", "'neg_category_ids'", "['a']"]),
}


@pytest.mark.parametrize("alter, expected", GROUND_TRUTH.values(), ids=GROUND_TRUTH)
def test_wrong_ground_truth(alter, expected, tmp_path):
    gt, results = two_videos()
    alter(gt)
    gt_file, results_file = files(tmp_path, gt, results)
    with raises(GroundTruthError, gt_file, *expected):
        evaluate_tao_ow(gt_file, results_file)


def test_ground_truth_file_cut_off(tmp_path):
    gt, results = one_track()
    gt_file, results_file = files(tmp_path, json.dumps(gt)[:-40], results)
    with raises(GroundTruthError, gt_file, "JSON"):
        evaluate_tao_ow(gt_file, results_file)


@pytest.mark.parametrize("value", [7, math.nan, "high"])
def test_no_entry_is_too_late_to_be_named(value, tmp_path):
    """The index counts over the pieces in which a long file is read."""
    gt, _ = one_track()
    results = [result(10 + i % 3, track=i) for i in range(9000)]
    results[8765]["score"] = value
    gt_file, results_file = files(tmp_path, gt, results)
    with raises(ResultsError, f"{results_file}: entry 8765", "'score'", repr(value)):
        evaluate_tao_ow(gt_file, results_file)
