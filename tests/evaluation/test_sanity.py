"""Warnings about input that can be scored and looks wrong; no score changes."""

import json
import logging

import numpy as np
import pytest
from helpers import own_data
from helpers.messages import assert_says
from helpers.processes import environment, run_python

from effowt_d2.evaluation import evaluate_tao_ow

KNOWN = {"known": ["dog", "car"]}


def results(document=None):
    """The true boxes as results."""
    keys = ("image_id", "video_id", "track_id", "bbox")
    labels = (document or own_data.tao())["annotations"]
    return [{**{key: label[key] for key in keys}, "category_id": 1, "score": 0.5} for label in labels]


def warnings(caplog, found, document=None, **options):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "effowt_d2"):
        scores = evaluate_tao_ow(document or own_data.tao(), found, groups=KNOWN, **options)
    return [record.getMessage() for record in caplog.records], scores


def test_no_warning_about_good_results(caplog):
    messages, scores = warnings(caplog, results())
    assert messages == [] and scores["all"]["OWTA"] == pytest.approx(100)
    assert [scores[subset]["objects"] for subset in ("all", "known", "unknown")] == [3, 2, 1]


def test_images_without_results(caplog):
    messages, _ = warnings(caplog, [entry for entry in results() if entry["image_id"] not in (2, 4, 5, 6)])
    (message,) = messages
    assert_says(message, "4 of 6", "1 videos")
    (message,), scores = warnings(caplog, [])
    assert_says(message, "6 of 6", "2 videos")
    assert scores["all"]["OWTA"] == 0
    # frames without ground truth of the subset are not scored
    assert warnings(caplog, results()[:6], subsets=["unknown"])[0] == []


@pytest.mark.parametrize("kind, word", [("corners", "[x0, y0, x1, y1]"), ("normalised", "0..1"), ("shifted", "")])
def test_boxes_outside_the_image(caplog, kind, word):
    found = results()
    for entry in found:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = {
            "corners": [x, y, x + w, y + h],
            "normalised": [x / 64, y / 48, w / 64, h / 48],
            "shifted": [x + 40, y, w, h],
        }[kind]
    (message,), _ = warnings(caplog, found)
    assert "results" in message and word in message and ("look like" in message) == bool(word)


def test_ground_truth_is_looked_at_too(caplog):
    document = own_data.tao()
    for label in document["annotations"]:
        x, y, w, h = label["bbox"]
        label["bbox"] = [x, y, x + w, y + h]
    messages, _ = warnings(caplog, results(), document)
    assert any("annotations" in message and "[x0, y0, x1, y1]" in message for message in messages)


def test_groups_without_an_object(caplog):
    document = own_data.tao()
    document["annotations"] = [label for label in document["annotations"] if label["category_id"] != 9]
    (message,), scores = warnings(caplog, results(document), document)
    assert_says(message, "'unknown'")
    assert scores["unknown"]["objects"] == 0


def test_the_tool_reports_on_stderr_and_takes_groups(tmp_path):
    gt, found = tmp_path / "gt.json", tmp_path / "results.json"
    gt.write_text(json.dumps(own_data.tao()))
    found.write_text(json.dumps(results()[:-1]))
    options = ("--gt", gt, "--results", found, "--json", tmp_path / "scores.json")
    output = run_python("tools/evaluate_tao_ow.py", *options, "--known", "dog", "7", "--check", env=environment())
    assert "WARNING" in output and "1 of 6 scored images have no results" in output
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [scores[s]["objects"] for s in ("all", "known", "unknown")] == [3, 2, 1]
    assert scores["unknown"]["OWTA"] == pytest.approx(100) and scores["known"]["D.Re"] == pytest.approx(100 * 5 / 6)


def test_groups_of_the_command_line(tmp_path, monkeypatch):
    import evaluate_tao_ow as tool

    def groups(*options):
        return tool.read_groups(tool.get_parser().parse_args(["--gt", "g", "--results", "r", *options]))

    assert groups() is None
    assert groups("--known", "dog", "17") == {"known": ["dog", 17], "distractor": []}
    file = tmp_path / "groups.json"
    file.write_bytes('{"known": ["dog"]}'.encode("utf-8-sig"))
    assert groups("--groups", str(file)) == {"known": ["dog"]}
    for wrong in (["--groups", str(file), "--known", "dog"], ["--distractor", "dog"]):
        with pytest.raises(ValueError):
            groups(*wrong)


def test_arrays_of_results_are_looked_at_as_files_are(caplog):
    columns = {name: np.array([entry[name] for entry in results()]) for name in results()[0]}
    columns["bbox"] = columns["bbox"] / 100
    (message,), _ = warnings(caplog, columns)
    assert_says(message, "0..1")
