"""Mosaics show the objects where their boxes say, repeat with their seed, and lose nothing on bad files."""

import json

import cv2
import numpy as np
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
    assert_says(capsys.readouterr().err, "error", 2)


def test_what_is_there_is_not_mixed_with(tmp_path, capsys):
    source = write_dataset(tmp_path / "single")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("kept")
    assert main([*source, "--output", str(tmp_path / "a")]) == 2
    assert_says(capsys.readouterr().err, tmp_path / "a")
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["mine.txt"]
