"""The text of result files, to the byte: other programs and older files depend on it."""

import json

from test_tao_ow_scores import one_track, result

from effowt_d2.evaluation import write_mot_challenge, write_results_json
from effowt_d2.evaluation.result_text import JSON_LIST_END, JSON_LIST_START, json_list_items, mot_line
from effowt_d2.evaluation.results_io import load_results


def test_a_list_that_grows_is_the_list_written_at_once():
    entries = [{"a": number, "b": "é"} for number in range(4)]
    parts = [json_list_items(entries[:1], 0), json_list_items([], 1), json_list_items(entries[1:], 1)]
    text = "".join([JSON_LIST_START, *parts, JSON_LIST_END])
    assert text == "".join([JSON_LIST_START, json_list_items(iter(entries), 0), JSON_LIST_END])
    assert json.loads(text) == entries and text.count("\n") == len(entries) + 2
    assert JSON_LIST_START + json_list_items([], 0) + JSON_LIST_END == "[\n]\n"


def test_lines_of_motchallenge():
    assert mot_line(3, 7, [1.5, 2.0, 0.125, -0.5], 0.75) == "3,7,1.5,2.0,0.125,-0.5,0.75,-1,-1,-1\n"
    line = mot_line(3, 7, [1.5, 2.0, 0.125, -0.5], 0.75, box_format=".2f", score_format=".6f")
    assert line == "3,7,1.50,2.00,0.12,-0.50,0.750000,-1,-1,-1\n"


def test_files_of_the_evaluation(tmp_path):
    gt, _ = one_track()
    results = [result(12, track=2), result(10, [1, 2.0625, 3, 4], score=0.25)]
    del results[1]["video_id"]
    write_results_json(load_results(results), tmp_path / "new" / "r.json")
    assert (tmp_path / "new" / "r.json").read_bytes() == (
        b'[\n{"image_id": 12, "category_id": 1, "bbox": [10.0, 10.0, 20.0, 20.0], "score": 0.9, "track_id": 2, '
        b'"video_id": 1},\n'
        b'{"image_id": 10, "category_id": 1, "bbox": [1.0, 2.0625, 3.0, 4.0], "score": 0.25, "track_id": 1}\n]\n'
    )
    write_mot_challenge(results, gt, tmp_path / "mot")
    assert (tmp_path / "mot" / "a.txt").read_bytes() == (
        b"1,1,1.00,2.06,3.00,4.00,0.250000,-1,-1,-1\n3,2,10.00,10.00,20.00,20.00,0.900000,-1,-1,-1\n"
    )
