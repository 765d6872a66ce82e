"""Input that cannot be scored: one error naming file, entry and value."""

import json
import math

import numpy as np
import pytest
from test_tao_ow_scores import annotation, one_track, result

from effowt_d2.evaluation import GroundTruthError, ResultsError, evaluate_tao_ow

FIELDS = {
    "image": ({"image_id": 77}, "'image_id' 77 is the id of no image"),
    "video": ({"video_id": 77}, "'video_id' 77 is the id of no video"),
    "other video": ({"video_id": 2}, "'video_id' 2 is not the video of its image"),
    "NaN box": ({"bbox": [0, 0, math.nan, 1]}, r"'bbox' \[0.0, 0.0, nan, 1.0\] must be finite"),
    "infinite box": ({"bbox": [0, -math.inf, 1, 1]}, r"'bbox' .*inf.* must be finite"),
    "negative size": ({"bbox": [0, 0, 5, -1]}, r"'bbox' .*-1.0\] must have a width and height from 0"),
    "short box": ({"bbox": [0, 0, 5]}, r"'bbox' must be 4 numbers .* got \[0, 0, 5\]"),
    "text in box": ({"bbox": [0, 0, 5, "5"]}, "'bbox' must be 4 numbers .* got"),
    "no box": ({"bbox": None}, "'bbox' must be 4 numbers .* got None"),
    "score above 1": ({"score": 1.5}, r"'score' 1.5 must lie in \[0, 1\]"),
    "score below 0": ({"score": -0.1}, r"'score' -0.1 must lie in"),
    "NaN score": ({"score": math.nan}, r"'score' nan must lie in"),
    "text score": ({"score": "0.9"}, "'score' must be a number, got '0.9'"),
    "fractional id": ({"track_id": 1.5}, "'track_id' must be a 64-bit integer, got 1.5"),
    "text id": ({"image_id": "11"}, "'image_id' must be a 64-bit integer, got '11'"),
    "true id": ({"track_id": True}, "'track_id' must be a 64-bit integer, got True"),
    "huge id": ({"track_id": 2**64}, "'track_id' must be a 64-bit integer, got 18446744073709551616"),
    "negative id": ({"track_id": -1}, "'track_id' -1 must not be negative"),
    "null video": ({"video_id": None}, "'video_id' must be a 64-bit integer, got None"),
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


@pytest.mark.parametrize("change, message", FIELDS.values(), ids=FIELDS)
def test_wrong_value_in_a_result(change, message, tmp_path):
    gt, results = two_videos()
    results[1].update(change)
    with pytest.raises(ResultsError, match=f"results.json: entry 1: {message}"):
        evaluate_tao_ow(*files(tmp_path, gt, results))
    with pytest.raises(ResultsError, match=f"results: entry 1: {message}"):
        evaluate_tao_ow(gt, results)


@pytest.mark.parametrize("field", ["image_id", "bbox", "score", "track_id", "category_id"])
def test_missing_field_in_a_result(field, tmp_path):
    gt, results = one_track()
    del results[2][field]
    with pytest.raises(ResultsError, match=f"results.json: entry 2: the field '{field}' is missing"):
        evaluate_tao_ow(*files(tmp_path, gt, results))


def test_entry_that_is_no_object():
    gt, results = one_track()
    with pytest.raises(ResultsError, match="entry 1: expected an object with the field 'image_id', got 3"):
        evaluate_tao_ow(gt, [results[0], 3])


def test_id_twice_in_a_frame(tmp_path):
    gt, results = one_track()
    results.append(result(11, [0, 0, 5, 5]))
    message = "results.json: entry 3: 'track_id' 1 is in the same image as entry 1"
    with pytest.raises(ResultsError, match=message):
        evaluate_tao_ow(*files(tmp_path, gt, results))
    # among the results that the limit drops it does no harm, in trackeval neither
    results[-1]["score"] = 0.1
    assert evaluate_tao_ow(gt, results, max_detections=1)["all"]["OWTA"] == pytest.approx(100)


@pytest.mark.parametrize(
    "text, message",
    [
        ('[{"image_id": 10', "entry 0 is cut off or malformed"),
        ('[ENTRY, {"image_id": 10, "bb', r"entry 1 is cut off or malformed .*: '\{\"image_id\": 10"),
        ("[ENTRY", "cut off after 1 entries"),
        ("[ENTRY,", "entry 1 is cut off or malformed"),
        ("[ENTRY ENTRY]", "after 1 entries expected ','"),
        ("[ENTRY] x", "after 1 entries expected"),
        ("[ENTRY,]", "entry 1 is cut off or malformed"),
        ("[1, 2]", "must be objects"),
        ("ENTRY", "expected a JSON list of results, the file starts with"),
        ("", "expected a JSON list of results"),
    ],
)
def test_broken_result_file(text, message, tmp_path):
    text = text.replace("ENTRY", json.dumps(result(10)))
    with pytest.raises(ResultsError, match=f"results.json: .*{message}"):
        evaluate_tao_ow(*files(tmp_path, one_track()[0], text))


def test_no_text_file(tmp_path):
    gt, path = files(tmp_path, one_track()[0], "")
    path.write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(ResultsError, match="not a UTF-8 text file"):
        evaluate_tao_ow(gt, path)


def test_arrays_with_wrong_types_and_shapes():
    gt, results = one_track()
    columns = {name: np.array([entry[name] for entry in results]) for name in results[0]}
    bad = {
        "track_id": (columns["track_id"] + 0.5, "'track_id' must hold integers"),
        "bbox": (columns["bbox"][:, :3], r"'bbox' has the shape \(3, 3\)"),
        "score": (columns["score"][:2], r"'score' has the shape \(2,\)"),
        "image_id": (columns["image_id"] + 90, "entry 0: 'image_id' 100 is the id of no image"),
    }
    for name, (column, message) in bad.items():
        with pytest.raises(ResultsError, match=message):
            evaluate_tao_ow(gt, {**columns, name: column})
    with pytest.raises(ResultsError, match=r"the arrays \['score'\] are missing"):
        evaluate_tao_ow(gt, {name: columns[name] for name in columns if name != "score"})


def change(where, index, **fields):
    return lambda gt: gt[where][index].update(fields)


def drop(where, index, field):
    return lambda gt: gt[where][index].pop(field)


GROUND_TRUTH = {
    "no tracks": (lambda gt: gt.pop("tracks"), "the list 'tracks' is missing"),
    "empty tracks": (lambda gt: gt["tracks"].clear(), "'tracks' is empty"),
    "no annotations": (lambda gt: gt.pop("annotations"), "the list 'annotations' is missing"),
    "empty annotations": (lambda gt: gt["annotations"].clear(), "'annotations' is empty"),
    "unknown image": (change("annotations", 1, image_id=7), "annotations 1: 'image_id' 7 is the id of no"),
    "unknown video": (change("images", 1, video_id=7), "images 1: 'video_id' 7 is the id of no video"),
    "wrong video": (change("annotations", 1, video_id=2), "annotations 1: its image is not in its video 2"),
    "NaN box": (change("annotations", 2, bbox=[0, 0, math.nan, 1]), "annotations 2: 'bbox' must be finite"),
    "inverted box": (change("annotations", 2, bbox=[0, 0, 1, -1]), "annotations 2: 'bbox' must be"),
    "negative id": (change("annotations", 2, track_id=-4), "annotations 2: 'track_id' must not be negative"),
    "id twice": (lambda gt: gt["annotations"].append(annotation(11)), "annotations 3: image 11 holds"),
    "no category": (drop("annotations", 0, "category_id"), "annotations 0: the field 'category_id'"),
    "same image id": (change("images", 2, id=10), "images 2: the id 10 was used before"),
    "same name": (change("videos", 1, name="a"), "videos 1: another video has the name 'a'"),
    "no frame": (drop("images", 2, "frame_index"), "images 2: the field 'frame_index' is missing"),
    "no list": (drop("videos", 0, "not_exhaustive_category_ids"), "videos 0: the field 'not_exhaustive"),
}


@pytest.mark.parametrize("alter, message", GROUND_TRUTH.values(), ids=GROUND_TRUTH)
def test_wrong_ground_truth(alter, message, tmp_path):
    gt, results = two_videos()
    alter(gt)
    with pytest.raises(GroundTruthError, match=f"gt.json: {message}"):
        evaluate_tao_ow(*files(tmp_path, gt, results))


def test_ground_truth_file_cut_off(tmp_path):
    gt, results = one_track()
    with pytest.raises(GroundTruthError, match="gt.json: not a complete JSON file"):
        evaluate_tao_ow(*files(tmp_path, json.dumps(gt)[:-40], results))


def test_no_entry_is_too_late_to_be_named(tmp_path):
    """The index counts over the pieces in which a long file is read."""
    gt, _ = one_track()
    results = [result(10 + i % 3, track=i) for i in range(9000)]
    results[8765]["score"] = 7
    with pytest.raises(ResultsError, match="results.json: entry 8765: 'score' 7.0"):
        evaluate_tao_ow(*files(tmp_path, gt, results))
