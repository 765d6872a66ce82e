"""Mosaics show the objects where their boxes say, repeat with their seed, and lose nothing on bad files."""

import json

import cv2
import make_mosaics
import numpy as np
import pytest
from helpers.full_disk import no_file_above
from helpers.messages import assert_says
from make_mosaics import main

COLOURS = {1: (0, 0, 255), 2: (0, 255, 0)}


def write_dataset(folder, broken=()):
    """Two grey images with a coloured box each, of category 1 and 2."""
    folder.mkdir()
    images, annotations = [], []
    for number, (colour, box) in enumerate(zip(COLOURS.values(), ((10, 10, 30, 20), (4, 30, 20, 20))), start=1):
        image = np.full((60, 80, 3), 120, np.uint8)
        x, y, w, h = box
        image[y : y + h, x : x + w] = colour
        cv2.imwrite(str(folder / f"{number}.png"), image)
        if number in broken:
            (folder / f"{number}.png").write_bytes(b"no image")
        images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 60})
        annotations.append(
            {"id": number, "image_id": number, "category_id": number, "bbox": list(box), "area": 1, "iscrowd": 0}
        )
    categories = [{"id": number, "name": f"c{number}"} for number in COLOURS]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    return ["--dataset", str(folder / "labels.json"), "--images", str(folder)]


def relabel(folder, *labels):
    """Replace the labels of image 1 by some of category 1."""
    content = json.loads((folder / "labels.json").read_text())
    added = [{"id": 10 + n, "image_id": 1, "category_id": 1, "area": 1, **label} for n, label in enumerate(labels)]
    content["annotations"] = [label for label in content["annotations"] if label["image_id"] != 1] + added
    (folder / "labels.json").write_text(json.dumps(content))


def content_of(folder):
    return json.loads((folder / "annotations.json").read_text())


def test_boxes_are_where_the_objects_are(tmp_path):
    source = write_dataset(tmp_path / "single")
    assert main([*source, "--output", str(tmp_path / "a"), "--count", "3", "--side", "120"]) == 0
    made = content_of(tmp_path / "a")
    assert [c["name"] for c in made["categories"]] == ["c1", "c2"]
    for image in made["images"]:
        pixels = cv2.imread(str(tmp_path / "a" / image["file_name"]))
        assert pixels.shape[:2] == (image["height"], image["width"])
        found = [a for a in made["annotations"] if a["image_id"] == image["id"]]
        assert len(found) >= 4
        for label in found:
            x, y, w, h = label["bbox"]
            inside = pixels[round(y + h / 2), round(x + w / 2)].astype(int)
            assert abs(inside - COLOURS[label["category_id"]]).max() < 60


def test_the_seed_decides(tmp_path):
    source = write_dataset(tmp_path / "single")
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main([*source, "--output", str(tmp_path / name), "--count", "2", "--side", "64", "--seed", seed]) == 0
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b") != content_of(tmp_path / "c")


def test_bad_files_are_omitted_and_counted(tmp_path, capsys):
    source = write_dataset(tmp_path / "single", broken=(2,))
    assert main([*source, "--output", str(tmp_path / "a"), "--count", "2", "--side", "64"]) == 0
    assert_says(capsys.readouterr().err, 1, "2.png")
    assert {a["category_id"] for a in content_of(tmp_path / "a")["annotations"]} == {1}
    source = write_dataset(tmp_path / "none", broken=(1, 2))
    assert main([*source, "--output", str(tmp_path / "b"), "--count", "2"]) == 2
    assert_says(capsys.readouterr().err, "error", 2, tmp_path / "none")
    assert not (tmp_path / "b").exists()


def test_what_is_there_is_not_mixed_with(tmp_path, capsys):
    source = write_dataset(tmp_path / "single")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("kept")
    assert main([*source, "--output", str(tmp_path / "a")]) == 2
    assert_says(capsys.readouterr().err, tmp_path / "a")
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["mine.txt"]


def test_boxes_stay_in_their_cells(tmp_path, capsys):
    source = write_dataset(tmp_path / "single", broken=(2,))
    outside = [{"bbox": [80, 10, 10, 10], "iscrowd": 0}, {"bbox": [10, 10, 0, 10], "iscrowd": 0}]
    relabel(tmp_path / "single", {"bbox": [-40, 15, 100, 200], "iscrowd": 0}, *outside)
    assert main([*source, "--output", str(tmp_path / "a"), "--count", "2", "--side", "240"]) == 0
    assert_says(capsys.readouterr().err, "2 labels")
    made = content_of(tmp_path / "a")
    for label in made["annotations"]:
        image = made["images"][label["image_id"] - 1]
        # an image has 80 x 60 pixels, and a cell the side of 80 of them
        side = 240 // len({a["bbox"][1] for a in made["annotations"] if a["image_id"] == image["id"]})
        x, y, w, h = label["bbox"]
        assert x % side == 0 and y % side == pytest.approx(side * 15 / 80)
        assert (w, h) == pytest.approx((side * 60 / 80, side * 45 / 80))


def test_crowds_stay_crowds(tmp_path):
    source = write_dataset(tmp_path / "single")
    crowd = {"bbox": [0, 0, 80, 60], "iscrowd": 1}
    relabel(tmp_path / "single", crowd)
    assert main([*source, "--output", str(tmp_path / "a"), "--count", "2", "--side", "64"]) == 0
    assert {a["category_id"] for a in content_of(tmp_path / "a")["annotations"]} == {2}
    relabel(tmp_path / "single", crowd, {"bbox": [10, 10, 30, 20], "iscrowd": 0})
    assert main([*source, "--output", str(tmp_path / "b"), "--count", "4", "--side", "64"]) == 0
    crowds = [a["iscrowd"] for a in content_of(tmp_path / "b")["annotations"] if a["category_id"] == 1]
    assert crowds.count(0) == crowds.count(1) > 0


def test_a_dataset_without_objects_is_an_error(tmp_path, capsys):
    source = write_dataset(tmp_path / "single")
    content = json.loads((tmp_path / "single" / "labels.json").read_text())
    for label in content["annotations"]:
        label["iscrowd"] = 1
    (tmp_path / "single" / "labels.json").write_text(json.dumps(content))
    assert main([*source, "--output", str(tmp_path / "a")]) == 2
    assert_says(capsys.readouterr().err, "error", "2 images", "crowd")


def test_images_in_another_folder_are_named(tmp_path, capsys):
    source = write_dataset(tmp_path / "single")
    (tmp_path / "wrong").mkdir()
    assert main([*source[:2], "--images", str(tmp_path / "wrong"), "--output", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert_says(error, 2, "no such file")
    assert str(tmp_path / "wrong") in error and len(error.splitlines()) == 1


def test_a_full_disk_or_an_interruption_leaves_nothing(tmp_path, capsys, monkeypatch):
    source = write_dataset(tmp_path / "single")
    before = sorted(tmp_path.iterdir())
    with no_file_above(500):
        assert main([*source, "--output", str(tmp_path / "a"), "--count", "2"]) == 2
    assert_says(capsys.readouterr().err, "error", "free")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(make_mosaics, "mosaic", interrupted)
    assert main([*source, "--output", str(tmp_path / "a")]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1 and sorted(tmp_path.iterdir()) == before
