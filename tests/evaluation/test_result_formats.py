"""Results that the demo and other tools write: the scores of the same results as TAO's list."""

import json
import logging

import pytest
from helpers import own_data
from helpers.messages import assert_says, raises

from effowt_d2.evaluation import ResultsError, evaluate_tao_ow, write_mot_challenge

ALL = ["all"]


def noisy():
    """Results: the true boxes, one moved, one track with another id in its last frame."""
    found = []
    for label in own_data.tao()["annotations"]:
        track = label["track_id"] + (10 if label["id"] == 52 else 0)
        x, *rest = label["bbox"]
        keys = {"image_id": label["image_id"], "video_id": label["video_id"], "category_id": 1}
        found.append({**keys, "track_id": track, "bbox": [x + (label["id"] == 21) * 4, *rest], "score": 0.5})
    return found


def coco_vid(frames=3):
    """The same as a COCO-VID file whose ids are its own."""
    document = own_data.coco_vid()
    for image in document["images"]:
        image["id"] += 100
    document["annotations"] = [
        {"id": n, "image_id": e["image_id"] + 100, "instance_id": e["track_id"], "bbox": e["bbox"], "score": e["score"]}
        for n, e in enumerate(noisy())
    ]
    return document


def write(folder, document, name="tracks.cocovid.json"):
    (folder / name).write_text(json.dumps(document))
    return folder / name


@pytest.fixture(scope="module")
def expected():
    return evaluate_tao_ow(own_data.tao(), noisy(), ALL)


def test_mot_text_of_several_videos_and_of_one(tmp_path, expected):
    assert 0 < expected["all"]["OWTA"] < 100
    write_mot_challenge(noisy(), own_data.tao(), tmp_path / "mot")
    assert evaluate_tao_ow(own_data.tao(), tmp_path / "mot", ALL) == expected
    one = own_data.tao()
    for name in ("videos", "images", "annotations", "tracks"):
        one[name] = [e for e in one[name] if (e["id"] if name == "videos" else e["video_id"]) == 1]
    scores = evaluate_tao_ow(one, [entry for entry in noisy() if entry["video_id"] == 1], ALL)
    # a text of any name is that of the only video
    (tmp_path / "tracked.txt").write_text((tmp_path / "mot" / "a.txt").read_text())
    assert evaluate_tao_ow(one, tmp_path / "tracked.txt", ALL) == scores


@pytest.mark.parametrize("names", ["all", "last part", "none"])
def test_coco_vid(tmp_path, expected, names):
    document = coco_vid()
    for image in document["images"]:
        if names == "last part":
            image["file_name"] = image["file_name"].rsplit("/")[-1]
        if names == "none":
            del image["file_name"]
    assert evaluate_tao_ow(own_data.tao(), write(tmp_path, document), ALL) == expected


def test_coco_vid_with_images_that_the_ground_truth_does_not_list(tmp_path, caplog, expected):
    document = coco_vid()
    extra = {"id": 900, "video_id": 1, "frame_id": 40, "file_name": "a/img1/000041.png"}
    document["images"].append(extra)
    document["annotations"].append({**document["annotations"][0], "image_id": 900})
    with caplog.at_level(logging.WARNING):
        assert evaluate_tao_ow(own_data.tao(), write(tmp_path, document), ALL) == expected
    assert_says(caplog.text, "1 results", "tracks.cocovid.json")
    document["annotations"] = document["annotations"][-1:]
    with raises(ResultsError, "tracks.cocovid.json", "frame_id"):
        evaluate_tao_ow(own_data.tao(), write(tmp_path, document), ALL)


@pytest.mark.parametrize(
    "alter, data",
    [
        (lambda d: d["annotations"][2].update(image_id=7), ["annotations 2", "image_id", 7]),
        (lambda d: d["annotations"][2].pop("instance_id"), ["annotations 2", "track_id"]),
        (lambda d: d["annotations"][2].update(bbox=[1, 2]), ["annotations 2", "bbox"]),
        (lambda d: d["videos"][0].update(name="x"), ["'x'", "a, b"]),
        (lambda d: d.pop("images"), ["images"]),
        (lambda d: d["annotations"][2].update(score=3), ["entry 2", "score", "3.0"]),
    ],
)
def test_coco_vid_that_cannot_be_scored(tmp_path, alter, data):
    document = coco_vid()
    alter(document)
    path = write(tmp_path, document)
    with raises(ResultsError, path, *data):
        evaluate_tao_ow(own_data.tao(), path, ALL)


@pytest.mark.parametrize(
    "name, text, data",
    [
        ("a", "4,1,2,3,4,5,0.5,-1,-1,-1\n", ["line 1", "frame 4", 3, "'a'"]),
        ("a", "1,1,2,3,4,5,0.5,-1,-1,-1\nx\n", ["line 2", "'x'"]),
        ("c", "1,1,2,3,4,5,0.5,-1,-1,-1\n", ["'c'", "a, b"]),
    ],
)
def test_mot_text_that_cannot_be_scored(tmp_path, name, text, data):
    (tmp_path / f"{name}.txt").write_text(text)
    with raises(ResultsError, tmp_path / f"{name}.txt", *data):
        evaluate_tao_ow(own_data.tao(), tmp_path, ALL)


def test_a_folder_without_texts(tmp_path):
    with raises(ResultsError, tmp_path):
        evaluate_tao_ow(own_data.tao(), tmp_path, ALL)


def test_ground_truth_in_other_formats_scores_the_same(tmp_path, expected):
    own_data.write_mot(own_data.write_images(tmp_path))
    by_format = [own_data.coco_vid(), own_data.youtube_vis(), own_data.burst()]
    for document in by_format:
        assert evaluate_tao_ow(document, noisy(), ALL) == expected
    # a MOT folder counts its images from 0
    shifted = [{**entry, "image_id": entry["image_id"] - 1} for entry in noisy()]
    assert evaluate_tao_ow(tmp_path, shifted, ALL) == expected
