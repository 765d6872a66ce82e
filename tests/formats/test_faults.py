"""What contradicts itself or has the wrong type is refused with the file, the image and the value, for training and
for scoring alike."""

import json
import math

import pytest
from helpers import own_data
from helpers.messages import assert_says, raises

from effowt_d2.data.datasets.records import load_records
from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.formats import DatasetError, read_dataset
from effowt_d2.formats.consistency import find_faults


def change(where, index, **fields):
    return lambda document: document[where][index].update(fields)


def drop(where, index, field):
    return lambda document: document[where][index].pop(field)


FAULTS = {
    "negative size": (change("annotations", 1, bbox=[1, 2, -3, 4]), ["annotations 1", "000002.png", -3]),
    "inverted box": (change("annotations", 1, bbox=[20, 20, 5, -5]), ["annotations 1", "000002.png", -5]),
    "NaN box": (change("annotations", 1, bbox=[math.nan, 2, 3, 4]), ["annotations 1", "000002.png", "nan"]),
    "infinite box": (change("annotations", 1, bbox=[1, 2, math.inf, 4]), ["annotations 1", "000002.png", "inf"]),
    "short box": (change("annotations", 1, bbox=[1, 2, 3]), ["annotations 1", "image_id 2", "bbox"]),
    "box as object": (change("annotations", 1, bbox={"x": 1}), ["annotations 1", "image_id 2", "bbox", "{'x': 1}"]),
    "box of texts": (change("annotations", 1, bbox=["1", 2, 3, 4]), ["annotations 1", "image_id 2", "bbox"]),
    "box of None": (change("annotations", 1, bbox=[None] * 4), ["annotations 1", "image_id 2", "bbox"]),
    "image id twice": (change("images", 2, id=1), ["images 2", "000003.png", 1]),
    "text id": (change("images", 2, id="3"), ["images 2", "000003.png", "'3'", "id"]),
    "fractional id": (change("images", 2, id=3.5), ["images 2", "000003.png", "3.5"]),
    "image id of text": (change("annotations", 1, image_id="2"), ["annotations 1", "'2'", "image_id"]),
    "no such image": (change("annotations", 1, image_id=77), ["annotations 1", "image_id", 77]),
    "no such category": (change("annotations", 1, category_id=77), ["annotations 1", "000002.png", 77]),
    "category twice": (change("categories", 1, id=3), ["categories 1", "car", 3]),
    "category of text": (change("categories", 1, id="3"), ["categories 1", "car", "'3'"]),
    "category without name": (drop("categories", 1, "name"), ["categories 1", "name"]),
    "no image id": (drop("annotations", 1, "image_id"), ["annotations 1", "image_id"]),
    "no category id": (drop("annotations", 1, "category_id"), ["annotations 1", "image_id 2", "category_id"]),
    "size of 0": (change("images", 2, width=0), ["images 2", "000003.png", "width", 0]),
    "size of text": (change("images", 2, height="48"), ["images 2", "000003.png", "height", "'48'"]),
    "name of a number": (change("images", 2, file_name=5), ["images 2", "file_name", 5]),
    "crowd of 2": (change("annotations", 1, iscrowd=2), ["annotations 1", "image_id 2", "iscrowd", 2]),
    "area of text": (change("annotations", 1, area="big"), ["annotations 1", "image_id 2", "area", "'big'"]),
    "images as object": (lambda document: document.update(images={"1": {}}), ["images", "dict"]),
    "entry of no object": (lambda document: document["annotations"].insert(1, 7), ["annotations 1", 7]),
    "no images": (lambda document: document["images"].clear(), ["images"]),
}
TAO_FAULTS = {
    "no such video": (change("images", 2, video_id=77), ["images 2", "000003.png", "video_id", 77]),
    "wrong video": (change("annotations", 1, video_id=2), ["annotations 1", "000002.png", "video_id", 2]),
    "video twice": (change("videos", 1, id=1), ["videos 1", "'b'", 1]),
    "name twice": (change("videos", 1, name="a"), ["videos 1", "'a'"]),
    "frame twice": (change("images", 2, frame_index=1), ["images 2", "000003.png", "frame_index 1"]),
    "no frame": (drop("images", 2, "frame_index"), ["images 2", "000003.png", "frame_index"]),
    "no track": (drop("annotations", 1, "track_id"), ["annotations 1", "image_id 2", "track_id"]),
    "negative track": (change("annotations", 1, track_id=-1), ["annotations 1", "000002.png", -1]),
    "track of text": (change("annotations", 1, track_id="t1"), ["annotations 1", "image_id 2", "'t1'"]),
    "track twice": (change("annotations", 3, track_id=1), ["annotations 3", "000001.png", "track 1"]),
    "rate of 0": (change("videos", 1, fps=0), ["videos 1", "'b'", "fps", 0]),
    "list of texts": (change("videos", 1, neg_category_ids=["a"]), ["videos 1", "'b'", "neg_category_ids"]),
}


def altered(document, alter, folder):
    alter(document)
    path = folder / "data.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("alter, data", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("format", ["coco", "tao"])
def test_faults_of_images_and_labels(tmp_path, format, alter, data):
    path = altered(getattr(own_data, format)(), alter, own_data.write_images(tmp_path))
    with raises(DatasetError, path, *data):
        load_records(path, tmp_path, format)
    if format == "tao":
        with raises(DatasetError, path, *data):
            evaluate_tao_ow(path, [], groups={"known": [3]})


@pytest.mark.parametrize("alter, data", TAO_FAULTS.values(), ids=TAO_FAULTS)
def test_faults_of_videos(tmp_path, alter, data):
    path = altered(own_data.tao(), alter, own_data.write_images(tmp_path))
    with raises(DatasetError, path, *data):
        load_records(path, tmp_path, "tao")
    with raises(DatasetError, path, *data):
        evaluate_tao_ow(path, [], groups={"known": [3]})


def test_all_kinds_of_faults_are_counted():
    document = own_data.tao()
    for number in (1, 4, 5):
        document["annotations"][number]["bbox"][2] = -1
    document["annotations"][7]["category_id"] = 8
    faults = list(find_faults(read_dataset(document, check=False)))
    assert [(fault.count, fault.boxes) for fault in faults] == [(1, False), (3, True)]
    assert_says(faults[0], "annotations 7", 8)
    assert_says(faults[1], "annotations 1", "2 more")


@pytest.mark.parametrize(
    "alter, data",
    [
        (lambda d: d["annotations"][0]["segmentations"].pop(), ["annotation 1", "segmentations", 2, 3]),
        (lambda d: d["annotations"][0].update(video_id=9), ["annotation 1", 9]),
        (lambda d: d["annotations"][0].pop("segmentations"), ["annotation 1", "bboxes", "segmentations"]),
        (lambda d: d["annotations"][0]["segmentations"].insert(0, 5), ["annotation 1"]),
        (lambda d: d["videos"][0].pop("width"), ["videos 0", "width"]),
    ],
)
def test_faults_of_youtube_vis(alter, data):
    document = own_data.youtube_vis()
    alter(document)
    with raises(DatasetError, *data):
        read_dataset(document, format="youtube_vis")


@pytest.mark.parametrize(
    "alter, data",
    [
        (lambda s: s["segmentations"].pop(), ["'a'", "segmentations", 2, 3]),
        (lambda s: s["track_category_ids"].pop("2"), ["'a'", "'2'", "track_category_ids"]),
        (lambda s: s["segmentations"][1].update(x=s["segmentations"][1]["1"]), ["'a'", "frame 1", "'x'"]),
        (lambda s: s["segmentations"][1]["1"].pop("rle"), ["'a'", "frame 1", "track 1", "counts"]),
        (lambda s: s.pop("seq_name"), ["sequences 0", "seq_name"]),
    ],
)
def test_faults_of_burst(alter, data):
    document = own_data.burst()
    alter(document["sequences"][0])
    with raises(DatasetError, *data):
        read_dataset(document, format="burst")


def test_labels_that_are_not_in_all_frames():
    document = own_data.youtube_vis()
    document["annotations"][0]["segmentations"][1] = None
    document["annotations"][1]["segmentations"][0] = {"size": [48, 64], "counts": [48 * 64]}
    assert len(read_dataset(document).annotations) == 7
    document["annotations"][2]["bboxes"] = [[1, 2, 3, 4], None, [1, 2, 3, 4]]
    document["annotations"][2]["segmentations"] = None
    tracks = [(a.track_id, a.image_id, a.bbox) for a in read_dataset(document).annotations if a.track_id == 5]
    assert tracks == [(5, 4, (1, 2, 3, 4)), (5, 6, (1, 2, 3, 4))]
