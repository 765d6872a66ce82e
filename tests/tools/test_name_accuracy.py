"""The count of right names: by hand, by the tool, and with the shipped model on a small ShapesOW."""

import json
import math
import runpy
import sys

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import ROOT
from helpers.colour_clip import COLOURS, colour_config, write_colour_clip
from helpers.messages import assert_says
from name_accuracy import NamedTrack, name_accuracy, name_true_tracks, result_boxes, true_boxes, word_meanings

from effowt_d2 import model_zoo
from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_videos
from effowt_d2.data.datasets.tao_ow import register_tao_format
from effowt_d2.data.shapes_ow import VideoSplit
from effowt_d2.evaluation.ground_truth import load_ground_truth
from effowt_d2.evaluation.results_io import check_results, load_results
from effowt_d2.naming import TrackNamer

TOOL = ROOT / "tools" / "evaluate_names.py"
CATEGORIES = {
    number: {"id": number, "name": name, "warm": name in ("red", "white")}
    for number, name in enumerate(COLOURS, start=1)
}
# (video, track, category, colour it is painted in, box x, y, w, h)
OBJECTS = (
    (1, 1, "red", "red", [8, 8, 20, 20]),
    (1, 2, "green", "blue", [50, 8, 20, 20]),
    (2, 3, "blue", "blue", [20, 40, 30, 20]),
)
FRAMES = 3


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
    return colour_config(write_colour_clip(tmp_path_factory.mktemp("colour_clip")))


@pytest.fixture
def colours(tmp_path):
    """A dataset of coloured boxes, one of them painted wrong, by name, and the path of its annotations."""
    ids = {record["name"]: number for number, record in CATEGORIES.items()}
    document = {"categories": list(CATEGORIES.values()), "open_world": {"known": [1], "distractor": []}}
    document.update({part: [] for part in ("images", "videos", "annotations")})
    for video in (1, 2):
        shared = {"width": 96, "height": 72, "name": f"v{video}"}
        document["videos"].append({"id": video, "neg_category_ids": [], "not_exhaustive_category_ids": [], **shared})
        for time in range(FRAMES):
            image_id, picture = 10 * video + time, np.zeros((72, 96, 3), np.uint8)
            for track_video, track, name, colour, (x, y, w, h) in OBJECTS:
                if track_video == video:
                    picture[y : y + h, x : x + w] = COLOURS[colour]
                    box = {"id": 100 * track + time, "bbox": [x, y, w, h], "image_id": image_id, "video_id": video}
                    document["annotations"].append({**box, "track_id": track, "category_id": ids[name]})
            # PNG, so that a colour stays what it is
            file = f"{image_id}.png"
            cv2.imwrite(str(tmp_path / file), picture)
            image = {"id": image_id, "video_id": video, "file_name": file, "frame_index": time}
            document["images"].append({**image, **shared})
    document["tracks"] = [{"id": t, "category_id": ids[name], "video_id": v} for v, t, name, _, _ in OBJECTS]
    (tmp_path / "gt.json").write_text(json.dumps(document))
    register_tao_format("coloured_boxes", tmp_path / "gt.json", tmp_path)
    yield "coloured_boxes", tmp_path / "gt.json"
    DatasetCatalog.remove("coloured_boxes")
    MetadataCatalog.remove("coloured_boxes")


def result(video, time, track, box, score=0.9):
    ids = {"image_id": 10 * video + time, "video_id": video, "track_id": track, "category_id": 1}
    return {**ids, "bbox": box, "score": score}


def some_results():
    """Track 1 in two pieces, track 2 found with a low score, track 3 found where it is not."""
    red, green, blue = (box for *_, box in OBJECTS)
    results = [result(1, 0, 7, red), result(1, 1, 7, red), result(1, 2, 8, red)]
    results += [result(1, time, 9, green, score=0.2) for time in range(FRAMES)]
    # ids are unique in a video only
    return results + [result(2, time, 7, [blue[0] + 16, *blue[1:]]) for time in range(FRAMES)]


def run(cfg, file, found):
    gt = load_ground_truth(file)
    images = {place: str(file.parent / f"{number}.png") for place, number in enumerate(gt.image_ids.tolist())}
    return name_true_tracks(TrackNamer(cfg, list(COLOURS)), gt, found(gt), lambda place: cv2.imread(images[place]))


def test_with_the_boxes_of_the_ground_truth(cfg, colours):
    tracks = run(cfg, colours[1], true_boxes)
    assert [(track.category, track.name) for track in tracks] == [(1, "red"), (2, "blue"), (3, "blue")]
    assert all(track.confidence > 0.9 for track in tracks)


@pytest.mark.parametrize("min_score, second", [(0.3, None), (0.1, "blue")])
def test_with_the_boxes_of_a_tracker(cfg, colours, min_score, second):
    def found(gt):
        results = load_results(some_results())
        return result_boxes(results, check_results(results, gt), min_score)

    # track 1: 2 of 3 frames; track 3: an IoU of 14 / 46 is no match
    names = [track.name for track in run(cfg, colours[1], found)]
    assert names == ["red", second, None]


def test_the_figures_by_hand():
    tracks = [NamedTrack(1, "red", 0.9), NamedTrack(2, "blue", 0.5), NamedTrack(3, None, 0.0), NamedTrack(4, "", 0.1)]
    vocabulary = ["red", "green", "blue", "sky"]
    figures = name_accuracy(tracks, vocabulary, CATEGORIES)
    # white is no word of the vocabulary: chance is 1/4, 1/4 and 0
    expected = {"tracks": 4, "found": 3, "right": 100 / 3, "chance": 50 / 3, "confidence": 50.0}
    # the fourth was looked at and has no name
    assert figures == pytest.approx({**expected, "named": 200 / 3, "precision": 50.0})
    warm = name_accuracy(tracks, vocabulary, CATEGORIES, "warm")
    assert (warm["right"], warm["chance"]) == (pytest.approx(200 / 3), pytest.approx(100 / 3 * (0.25 + 0.5 + 0.25)))
    nothing = name_accuracy(tracks[2:3], vocabulary, CATEGORIES)
    assert (nothing["tracks"], nothing["found"]) == (1, 0) and math.isnan(nothing["right"])
    unnamed = name_accuracy(tracks[3:], vocabulary, CATEGORIES)
    assert unnamed["named"] == 0 and math.isnan(unnamed["precision"])


def test_a_word_stands_for_what_it_or_a_synonym_names():
    vocabulary = ["Red\tcrimson", "sea\tBLUE", "sky"]
    tracks = [NamedTrack(1, "Red", 0.9), NamedTrack(2, "sea", 0.5), NamedTrack(3, "sea", 0.5)]
    assert word_meanings(vocabulary, CATEGORIES, "name") == {"Red": {"red"}, "sea": {"blue"}, "sky": set()}
    figures = name_accuracy(tracks, vocabulary, CATEGORIES)
    assert figures["right"] == pytest.approx(200 / 3) and figures["chance"] == pytest.approx(200 / 9)
    # COCO's names serve for TAO's categories
    tao = {211: {"name": "car_(automobile)"}, 805: {"name": "person"}}
    assert word_meanings(["car\tauto", "Person"], tao, "name") == {"car": {"car_(automobile)"}, "Person": {"person"}}


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate_names.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name="__main__")
    return end.value.code


@pytest.fixture
def config_file(cfg, tmp_path):
    (tmp_path / "config.yaml").write_text(cfg.dump())
    return tmp_path / "config.yaml"


def test_the_tool_prints_and_writes_them(colours, config_file, tmp_path, monkeypatch, capsys):
    base = ["--config-file", config_file, "--dataset", colours[0], "--fields", "warm", "--json", tmp_path / "out.json"]
    assert call(monkeypatch, *base, "--gt") == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = {cells[0].strip(): [cell.strip() for cell in cells[1:-1]] for cells in rows}
    assert rows["all"] == ["3", "3", "100.0", "66.7", "66.7 (25.00)", "100.0 (50.00)"]
    assert rows["known"] == ["1", "1", "100.0", "100.0", "100.0 (25.00)", "100.0 (50.00)"]
    assert rows["unknown"][2:5] == ["100.0", "50.0", "50.0 (25.00)"]
    (tmp_path / "results.json").write_text(json.dumps(some_results()))
    (tmp_path / "words.txt").write_text("red\nsky\n")
    results = ["--results", tmp_path / "results.json", "--vocabulary", tmp_path / "words.txt"]
    assert call(monkeypatch, *base, *results) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["all"]["name"]["found"] == 1 and written["known"]["name"]["chance"] == 50


def test_own_data_may_have_no_groups(colours, config_file, tmp_path, monkeypatch, capsys):
    content = json.loads(colours[1].read_text())
    del content["open_world"]
    (tmp_path / "own.json").write_text(json.dumps(content))
    base = ["--config-file", config_file, "--gt", "--dataset", "own_colours"]
    own = ["--opts", "DATA.REGISTER", [["own_colours", str(tmp_path / "own.json"), str(tmp_path), "tao"]]]
    try:
        for keys, subsets in ((own, ["all"]), ([*own, "DATA.CLASSES", ["red"]], ["all", "known", "unknown"])):
            assert call(monkeypatch, *base, *keys) == 0
            rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
            assert rows[2:] == subsets
    finally:
        DatasetCatalog.remove("own_colours")
        MetadataCatalog.remove("own_colours")


def test_the_tool_reports_faults_in_one_line(colours, config_file, tmp_path, monkeypatch, capsys):
    base = ["--config-file", config_file, "--gt", "--dataset"]
    assert call(monkeypatch, *base, "nothing_here") == 2
    assert_says(capsys.readouterr().err, "--dataset", "nothing_here")
    assert call(monkeypatch, *base, colours[0], "--fields", "size") == 2
    assert_says(capsys.readouterr().err, "--fields", "size", "id", "name", "warm")
    (tmp_path / "words.txt").write_text("\n")
    assert call(monkeypatch, *base, colours[0], "--vocabulary", tmp_path / "words.txt") == 2
    assert_says(capsys.readouterr().err, "words.txt")
    (tmp_path / "words.txt").write_text("sky\ngrass\n")
    assert call(monkeypatch, *base, colours[0], "--vocabulary", tmp_path / "words.txt") == 2
    assert_says(capsys.readouterr().err, "no word", "sky", colours[1])
    assert call(monkeypatch, *base, colours[0], "--json", tmp_path / "words.txt" / "out.json") == 2
    assert_says(capsys.readouterr().err, "--json", tmp_path / "words.txt")
    (tmp_path / "11.png").unlink()
    assert call(monkeypatch, *base, colours[0]) == 2
    assert_says(capsys.readouterr().err, "11.png")


def test_the_shipped_model_names_shapes_far_above_chance(tmp_path):
    split = VideoSplit(videos=3, frames=6, size=128, objects=(3, 4), radii=(16.0, 30.0))
    records = load_shapes_ow_videos(split, tmp_path / "val")
    files = [record["file_name"] for record in records]
    gt = load_ground_truth(tmp_path / "val" / "annotations_8.json")
    content = json.loads((tmp_path / "val" / "annotations_8.json").read_text())
    categories = {record["id"]: record for record in content["categories"]}
    namer = TrackNamer(model_zoo.get_config("quick/shapes_ow_effowt.yaml"), [c["name"] for c in categories.values()])
    tracks = name_true_tracks(namer, gt, true_boxes(gt), lambda place: cv2.imread(files[place]))
    right = {field: name_accuracy(tracks, namer.vocabulary, categories, field)["right"] for field in ("colour", "name")}
    assert len(tracks) >= 9 and right["colour"] >= 80, right
    assert right["name"] >= 10, right
