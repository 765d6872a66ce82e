"""Clips of cut-out objects: exact boxes, hidden targets, the command line, and datasets that cannot be used."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from helpers.full_disk import no_file_above
from sot import make_clips
from sot.data.layouts import read_layout
from sot.data.pasted_clips import paste_clip, paste_clips, read_cutouts
from sot.make_clips import main

from effowt_d2.formats import DatasetError, read_dataset
from effowt_d2.utils.boxes import xyxy_to_xywh

RED, BLUE, GREEN = (0, 0, 255), (255, 0, 0), (0, 255, 0)
CATEGORIES = [{"id": 1, "name": "red square"}, {"id": 2, "name": "blue square"}, {"id": 3, "name": "green square"}]


def write_dataset(folder, sides=(40, 30)):
    """Grey images of 80 x 60 pixels, each with a square object that is outlined by a polygon."""
    folder.mkdir(exist_ok=True)
    images, annotations = [], []
    for number, (side, colour) in enumerate(zip(sides, (RED, BLUE, GREEN)), 1):
        image = np.full((60, 80, 3), 128, np.uint8)
        image[5 : 5 + side, 10 : 10 + side] = colour
        cv2.imwrite(str(folder / f"{number}.png"), image)
        images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 60})
        polygon = [10, 5, 10 + side, 5, 10 + side, 5 + side, 10, 5 + side]
        label = {"id": number, "image_id": number, "category_id": number, "iscrowd": 0, "segmentation": [polygon]}
        annotations.append({**label, "bbox": [10, 5, side, side], "area": side**2})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder / "annotations.json"


def layer(name, colour, side=40):
    return name, np.dstack([np.full((side, side, 3), colour, np.uint8), np.full((side, side), 255, np.uint8)])


def test_boxes_are_those_of_what_is_drawn():
    scene = np.full((60, 80, 3), 255, np.uint8)
    for seed in range(4):
        random = np.random.default_rng(seed)
        clip = paste_clip("object-1", [layer("red", RED)], scene, frames=6, size=(120, 160), random=random)
        for frame, box in zip(clip.frames, clip.boxes):
            rows, columns = np.nonzero(frame[..., 0] < 128)
            drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, drawn, atol=2)


def test_a_target_behind_another_object_is_absent():
    scene = np.full((60, 80, 3), 128, np.uint8)
    hidden = seen = 0
    for seed in range(30):
        random = np.random.default_rng(seed)
        layers = [layer("red", RED), layer("blue", BLUE)]
        clip = paste_clip("object-1", layers, scene, frames=4, size=(60, 80), random=random)
        red = (clip.frames[..., 2].astype(int) - clip.frames[..., 0] > 60).sum(axis=(1, 2))
        hidden += (~clip.present).sum()
        seen += clip.present.sum()
        assert (red[clip.present] > 0).all()
    assert hidden and seen > hidden


def test_the_command_writes_a_dataset(tmp_path):
    source = write_dataset(tmp_path / "images")
    options = ["--dataset", str(source), "--images", str(source.parent), "--count", "2", "--frames", "3"]
    assert main([*options, "--output", str(tmp_path / "clips")]) == 0
    sequences = read_layout("got10k", tmp_path / "clips")
    made = list(paste_clips(read_cutouts(source, source.parent), 2, frames=3))
    assert [s.name for s in sequences] == ["object-1", "object-2"]
    for sequence, clip in zip(sequences, made):
        np.testing.assert_array_equal(sequence.boxes, clip.boxes)
        np.testing.assert_array_equal(sequence.present, clip.present)
        assert sequence.size == (240, 320)
    # the folder is not written over
    assert main([*options, "--output", str(tmp_path / "clips")]) == 2


def test_tao_has_every_object_that_can_be_seen(tmp_path):
    source = write_dataset(tmp_path / "images")
    options = ["--dataset", str(source), "--images", str(source.parent), "--count", "3", "--frames", "4"]
    assert main([*options, "--output", str(tmp_path / "clips"), "--layout", "tao"]) == 0
    dataset = read_dataset(tmp_path / "clips" / "annotations.json", tmp_path / "clips" / "frames", "tao")
    made = list(paste_clips(read_cutouts(source, source.parent), 3, frames=4))
    expected = [present.sum() for clip in made for present in (clip.present, *(seen for _, seen in clip.others))]
    counts = Counter(annotation.track_id for annotation in dataset.annotations)
    assert [counts[track] for track in sorted(counts)] == [count for count in expected if count] and len(counts) > 3
    first = next(annotation for annotation in dataset.annotations if annotation.track_id == 1)
    place = int(np.argmax(made[0].present))
    assert first.bbox == pytest.approx(xyxy_to_xywh(made[0].boxes[place]).tolist())
    content = json.loads((tmp_path / "clips" / "annotations.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[track["category_id"]] for track in content["tracks"]] == [n for clip in made for n in clip.categories]
    tracks = {track["id"]: track["category_id"] for track in content["tracks"]}
    assert all(label["category_id"] == tracks[label["track_id"]] for label in content["annotations"])
    for clip in made:
        difference = clip.frames[..., 2].astype(int) - clip.frames[..., 0]
        assert (difference > 60).any() == ("red square" in clip.categories)
        assert (difference < -60).any() == ("blue square" in clip.categories)


def test_too_few_objects_are_an_error(tmp_path, capsys):
    source = write_dataset(tmp_path / "images", sides=(40, 20))
    with pytest.raises(DatasetError, match="has 1 objects"):
        read_cutouts(source, source.parent)
    assert main(["--dataset", str(source), "--images", str(source.parent), "--output", str(tmp_path / "out")]) == 2
    assert str(source) in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_images_that_cannot_be_read_are_named_and_skipped(tmp_path, capsys):
    source = write_dataset(tmp_path / "images", sides=(40, 30, 35))
    content = json.loads(source.read_text())
    content["images"][2]["width"] = 81
    source.write_text(json.dumps(content))
    options = ["--dataset", str(source), "--images", str(source.parent), "--count", "4", "--frames", "2"]
    assert main([*options, "--output", str(tmp_path / "clips"), "--layout", "tao"]) == 0
    printed = capsys.readouterr()
    assert "1 images were skipped" in printed.err and "3.png" in printed.err and "2 objects" in printed.out
    written = json.loads((tmp_path / "clips" / "annotations.json").read_text())
    assert len(written["videos"]) == 4 and {c["name"] for c in written["categories"]} == {"red square", "blue square"}
    for number in (1, 2):
        (source.parent / f"{number}.png").unlink()
    assert main([*options, "--output", str(tmp_path / "none")]) == 2
    assert "none of the 3 images can be read" in capsys.readouterr().err


@pytest.mark.parametrize("outline", [[[10, 5, 30, 40]], [7], {"counts": [3]}, {"size": [60, 80]}])
def test_an_outline_that_is_none_is_an_error(tmp_path, outline):
    source = write_dataset(tmp_path / "images")
    content = json.loads(source.read_text())
    content["annotations"][1]["segmentation"] = outline
    source.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="annotation 2"):
        read_cutouts(source, source.parent)


def test_categories_that_a_file_does_not_list_have_names(tmp_path):
    source = write_dataset(tmp_path / "images")
    content = json.loads(source.read_text())
    del content["categories"]
    source.write_text(json.dumps(content))
    assert [one.category for one in read_cutouts(source, source.parent).objects] == ["category 1", "category 2"]


def test_a_full_disk_or_an_interruption_leaves_nothing(tmp_path, capsys, monkeypatch):
    source = write_dataset(tmp_path / "images")
    arguments = ["--dataset", str(source), "--images", str(source.parent), "--output", str(tmp_path / "clips")]
    with no_file_above(1000):
        assert main([*arguments, "--count", "1"]) == 2
    error = capsys.readouterr().err
    assert "make_clips: error" in error and "free" in error and len(error.splitlines()) == 1

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(make_clips, "paste_clips", interrupted)
    assert main(arguments) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1 and [f.name for f in tmp_path.iterdir()] == ["images"]
