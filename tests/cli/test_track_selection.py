"""Crops of tracks as files, and which tracks are kept."""

import csv
import re

import cv2
import numpy as np
import pytest
from helpers.blobs import SIZE, run
from helpers.dummy_model import BlobTracker
from helpers.messages import assert_says


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_crops_are_the_best_views_of_each_track_in_pixels_of_the_frame(config_file, folder, tmp_path):
    assert run(config_file, "--input", folder, "--crops", tmp_path / "crops", "--results", tmp_path / "r.csv") == 0
    by_frame = {(row["track_id"], row["frame"]): row for row in rows(tmp_path / "r.csv")}
    seen = {}
    for file in (tmp_path / "crops").iterdir():
        track, frame = map(str, map(int, re.findall(r"\d+", file.name)))
        row, image = by_frame[track, frame], cv2.imread(str(file))
        assert image.shape[:2] == pytest.approx((float(row["height"]), float(row["width"])), abs=1)
        seen.setdefault(track, set()).add(int(image.mean(axis=(0, 1)).argmax()))
    # each track is one of the blocks, which are blue, green and red, in all its views
    assert sorted(seen.values(), key=min) == [{0}, {1}, {2}]


def test_crops_of_another_run_are_not_mixed_in(config_file, folder, tmp_path, capsys):
    crops = tmp_path / "crops"
    crops.mkdir()
    (crops / "track000099_frame000000.jpg").write_text("old")
    arguments = ["--input", folder, "--crops", crops]
    assert run(config_file, *arguments) == 2
    assert_says(capsys.readouterr().err, crops, "track000099_frame000000.jpg")
    assert run(config_file, *arguments, "--overwrite") == 0
    assert not (crops / "track000099_frame000000.jpg").exists() and list(crops.iterdir())


def test_a_mask_keeps_what_lies_in_its_white_part_by_half(config_file, folder, tmp_path):
    # half the size of the frames: the upper two of three blocks, which are 20 pixels apart
    mask = np.zeros((SIZE[1] // 2, SIZE[0] // 2), np.uint8)
    mask[: (4 + 20 + 12) // 2] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    arguments = ["--input", folder, "--mask", tmp_path / "mask.png", "--results", tmp_path / "r.csv"]
    assert run(config_file, *arguments) == 0
    assert {round(float(row["y"])) for row in rows(tmp_path / "r.csv")} == {4, 24}
    # now the second is white by a third only
    mask[(4 + 20 + 4) // 2 :] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    assert run(config_file, *arguments, "--overwrite") == 0
    assert {round(float(row["y"])) for row in rows(tmp_path / "r.csv")} == {4}


@pytest.mark.parametrize("option, data", [
    (("--mask", "gone.png"), ["gone.png"]), (("--mask", "words.txt"), ["words.txt"]), (("--mask", "black.png"), ["black.png"]),
    (("--mask", "white.png", "--output", "white.png"), ["white.png"]), (("--only", "dog"), ["dog", "--vocabulary"]),
    (("--vocabulary", "words.txt", "--only", "cat,dgo"), ["dgo", "cat", "dog"]),
])  # fmt: skip
def test_what_is_wrong_is_reported_before_the_model_is_built(
    config_file, folder, tmp_path, monkeypatch, capsys, option, data
):
    monkeypatch.setattr(BlobTracker, "built", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("cat\ndog\n")
    for name, value in (("black.png", 0), ("white.png", 255)):
        cv2.imwrite(name, np.full((4, 4), value, np.uint8))
    assert run(config_file, "--input", folder, "--results", "r.json", *option) == 2
    assert_says(capsys.readouterr().err, *data)
    assert BlobTracker.built == 0


@pytest.mark.parametrize("least, all_named", [("0.0", True), ("1.0", False)])
def test_the_summary_counts_named_tracks(folder, tmp_path, capsys, least, all_named):
    (tmp_path / "words.txt").write_text("disc\nstar\n")
    arguments = ["--vocabulary", tmp_path / "words.txt", "--results", tmp_path / "r.csv", "--score-threshold", 0]
    assert run("quick/shapes_ow_effowt.yaml", "--input", folder, *arguments, "--opts", "NAMING.MIN_SCORE", least) == 0
    tracks, named = map(int, re.search(r"(\d+) tracks \((\d+) named\)", capsys.readouterr().out).groups())
    assert tracks and named == tracks * all_named
