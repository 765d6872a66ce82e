"""One dataset in six formats reads as one; what a file lacks is filled in; a format is found out or named."""

import codecs
import json

import numpy as np
import pytest
from helpers import own_data, shared_data
from helpers.messages import assert_says, raises

from effowt_d2.formats import DatasetError, read_dataset

DOCUMENTS = {name: getattr(own_data, name) for name in ("tao", "coco", "coco_vid", "youtube_vis", "burst")}


def write(folder, document, name="data.json"):
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def labels(dataset):
    """What the annotations say, by the images' file names."""
    names = {image.id: image.file_name for image in dataset.images}
    return sorted((names[a.image_id], a.category_id, tuple(map(float, a.bbox))) for a in dataset.annotations)


@pytest.mark.parametrize("format", DOCUMENTS)
@pytest.mark.parametrize("named", [True, False])
def test_formats_of_one_file_read_as_one(tmp_path, format, named):
    own_data.write_images(tmp_path)
    dataset = read_dataset(write(tmp_path, DOCUMENTS[format]()), tmp_path, format if named else "")
    reference = read_dataset(own_data.tao())
    assert dataset.format == format and labels(dataset) == labels(reference)
    assert dataset.category_names == reference.category_names
    assert all((tmp_path / image.file_name).is_file() for image in dataset.images)
    assert {(i.width, i.height) for i in dataset.images} == {(own_data.WIDTH, own_data.HEIGHT)}
    if format != "coco":
        tracks = {(a.video_id, a.track_id, a.category_id) for a in dataset.annotations}
        assert tracks == {(a.video_id, a.track_id, a.category_id) for a in reference.annotations}
        assert [(i.video_id, i.frame_index) for i in dataset.images] == [(v, f) for v in (1, 2) for f in range(3)]


def test_content_is_complete_and_reads_as_the_same():
    dataset = read_dataset(own_data.coco_vid())
    content = dataset.content()
    again = read_dataset(content)
    assert again.format == "tao" and again.filled.total() == 0 and labels(again) == labels(dataset)
    assert [label["id"] for label in content["annotations"]] == list(range(1, 10))
    assert content["tracks"] == [
        {"id": t, "video_id": own_data.VIDEOS.index(v) + 1, "category_id": c}
        for t, (v, c, _) in own_data.TRACKS.items()
    ]
    stills = read_dataset(own_data.coco()).content()
    assert "videos" not in stills and stills["info"] == {} and read_dataset(stills).format == "coco"


def test_fields_that_a_file_may_lack(tmp_path):
    own_data.write_images(tmp_path)
    document = own_data.tao()
    for name in ("videos", "tracks", "categories"):
        del document[name]
    for image in document["images"]:
        del image["width"], image["height"]
    for label in document["annotations"]:
        del label["id"], label["area"], label["iscrowd"], label["video_id"]
        x, y, w, h = label.pop("bbox")
        label["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    dataset = read_dataset(write(tmp_path, document), tmp_path)
    assert labels(dataset) == labels(read_dataset(own_data.tao()))
    assert dataset.filled == {
        "tracks": 3,
        "videos": 2,
        "videos.name": 2,
        "videos.neg_category_ids": 2,
        "videos.not_exhaustive_category_ids": 2,
        "images.width, height": 6,
        "annotations.bbox": 9,
        "annotations.area": 9,
        "annotations.iscrowd": 9,
        "annotations.video_id": 9,
        "categories": 3,
    }
    assert {(i.width, i.height) for i in dataset.images} == {(64, 48)}
    assert dataset.annotations[0].area == 120 and dataset.annotations[0].iscrowd == 0
    assert dataset.category_names == {3: "category 3", 7: "category 7", 9: "category 9"}
    assert [video.name for video in dataset.videos] == ["1", "2"]


def test_sizes_come_from_the_image_as_viewers_turn_it(tmp_path):
    from PIL import Image

    document = own_data.coco()
    document["images"], document["annotations"] = [{"id": 1, "file_name": "x.jpg"}], []
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    (read,) = read_dataset(document, tmp_path).images
    assert (read.width, read.height) == (20, 30)
    (tmp_path / "x.jpg").unlink()
    with raises(DatasetError, "x.jpg", str(tmp_path / "x.jpg")):
        read_dataset(document, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be with mark"])
def test_files_with_a_byte_order_mark(tmp_path, encoding):
    text = json.dumps({**own_data.coco(), "info": {"by": "Žofie"}}, ensure_ascii=False)
    mark, name = (codecs.BOM_UTF16_BE, "utf-16-be") if "with" in encoding else (b"", encoding)
    (tmp_path / "data.json").write_bytes(mark + text.encode(name))
    assert len(read_dataset(tmp_path / "data.json").annotations) == 9


@pytest.mark.parametrize("name", [r"a\img1\000001.png", r".\a\img1\000001.png"])
def test_backslashes_in_file_names(tmp_path, name):
    own_data.write_images(tmp_path)
    document = own_data.coco()
    document["images"][0]["file_name"] = name
    image = read_dataset(document, tmp_path).images[0]
    assert (tmp_path / image.file_name).is_file()
    # unless a file of that very name is there
    (tmp_path / name).write_bytes(b"x")
    assert read_dataset(document, tmp_path).images[0].file_name == name


def test_absolute_file_names(tmp_path):
    own_data.write_images(tmp_path / "elsewhere")
    document = own_data.coco()
    for image in document["images"]:
        image["file_name"] = str(tmp_path / "elsewhere" / image["file_name"])
        del image["width"]
    assert read_dataset(document, tmp_path).images[0].width == 64


def test_merged_categories_of_tao_keep_their_ids():
    document = own_data.tao()
    document["categories"] = [
        {"id": 3, "name": "dog", "merged": [{"id": 7, "name": "car"}, {"id": 9, "name": "camel"}]}
    ]
    assert read_dataset(document).category_names == {3: "dog", 7: "car", 9: "camel"}


@pytest.mark.parametrize(
    "document, data",
    [
        ("", ["empty"]),
        ("{", ["JSON"]),
        ("[]", ["list of 0 entries", "coco", "mot"]),
        ("3", ["int"]),
        ("{}", ["no fields"]),
        ({"shapes": [], "version": 1}, ["shapes", "version", "youtube_vis"]),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], ["list of 1 entries", "score", "result file"]),
    ],
)
def test_files_of_no_format_are_described(tmp_path, document, data):
    path = write(tmp_path, document)
    with raises(DatasetError, path, *data):
        read_dataset(path)


@pytest.mark.parametrize(
    "given, actual", [("tao", "coco"), ("coco_vid", "burst"), ("youtube_vis", "tao"), ("burst", "coco")]
)
def test_a_file_of_another_format_than_given(tmp_path, given, actual):
    path = write(tmp_path, DOCUMENTS[actual]())
    with raises(DatasetError, path, given, actual):
        read_dataset(path, format=given)


def test_formats_that_do_not_exist(tmp_path):
    with raises(DatasetError, "voc", "coco", "burst", "mot"):
        read_dataset(write(tmp_path, own_data.coco()), format="voc")
    with raises(FileNotFoundError, tmp_path / "gone.json"):
        read_dataset(tmp_path / "gone.json")
    with raises(DatasetError, tmp_path, "coco"):
        read_dataset(tmp_path, format="coco")


def test_given_documents_are_left_as_they_are():
    document = own_data.coco_vid()
    before = json.dumps(document)
    read_dataset(document)
    assert json.dumps(document) == before


def test_leaving_out_an_image_takes_its_video_along():
    dataset = read_dataset(own_data.tao()).without_images([own_data.image_id("a", 1)])
    assert [video.name for video in dataset.videos] == ["b"] and {a.track_id for a in dataset.annotations} == {5}
    stills = read_dataset(own_data.coco()).without_images([own_data.image_id("a", 1)])
    assert len(stills.images) == 5 and len(stills.annotations) == 7


CASES = {
    "own_val_tao_nogroups.json": ("tao", 54, 4, {}),
    "sv_names.json": ("tao", 5, 1, {}),
    "coco_noarea.json": ("coco", 3, 0, {"annotations.area": 3, "annotations.iscrowd": 3}),
    "poly.json": ("coco", 4, 0, {"annotations.bbox": 4}),
    "x16/a.json": ("coco", 4, 0, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_files_of_users(name):
    dataset = read_dataset(shared_data("..", "cases", "training", *name.split("/")))
    format, images, videos, filled = CASES[name]
    assert (dataset.format, len(dataset.images), len(dataset.videos)) == (format, images, videos)
    assert {field: count for field, count in dataset.filled.items() if count} == filled
    assert all(np.isfinite(label.bbox).all() for label in dataset.annotations)


def test_a_mask_without_box_is_named():
    document = own_data.coco()
    del document["annotations"][4]["bbox"]
    for bad, data in ((None, "segmentation"), ([[1, 2, 3]], "3"), ({"size": [1, 1]}, "counts"), ("x", "str")):
        document["annotations"][4]["segmentation"] = bad
        with pytest.raises(DatasetError) as caught:
            read_dataset(document)
        assert_says(caught.value, "annotations 4", "image_id 2", data)
