"""tools/check_dataset.py: everything of a dataset, and what is wrong with it, without training."""

import json

import check_dataset
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from helpers import own_data, shared_data
from helpers.messages import assert_says


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs the tool; returns its exit status, output and errors."""
    before = set(DatasetCatalog.list())

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["check_dataset.py", *map(str, arguments)])
        try:
            status = check_dataset.main()
        except SystemExit as end:
            status = end.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    yield run
    with own_data.forgotten(*(set(DatasetCatalog.list()) - before)):
        pass


@pytest.fixture
def folder(tmp_path):
    own_data.write_images(tmp_path)
    return tmp_path


def write(folder, document, name="data.json"):
    (folder / name).write_text(json.dumps(document))
    return folder / name


def test_a_good_file(call, folder):
    document = own_data.tao()
    document["annotations"][0]["bbox"] = [60, 6, 12, 10]
    document["annotations"][1]["bbox"] = [7, 6, 0, 10]
    del document["tracks"], document["videos"][0]["neg_category_ids"]
    status, out, err = call(write(folder, document), "--known", "dog", "7", "--distractor", "camel", "--read", 0)
    assert status == 0 and "error" not in err
    assert_says(out, "tao", "6 images", "2 videos", "3 objects", "9 labels", "3 categories")
    assert_says(out, "1 dropped", "1 clipped", "0 refused")
    assert_says(out, "known: 2 objects, 6 labels (dog, car)", "unknown: 0 objects", "distractor: 1 objects")
    assert_says(out, "tracks (3)", "videos.neg_category_ids (1)")


def test_all_that_is_wrong_is_printed(call, folder):
    document = own_data.tao()
    document["videos"].append({**document["videos"][0], "id": 3, "name": "empty"})
    document["annotations"][0]["bbox"] = [9, 9, -1, 4]
    document["annotations"][4]["category_id"] = 55
    document["images"][5]["file_name"] = document["images"][4]["file_name"]
    (folder / own_data.file_name("a", 2)).unlink()
    status, out, err = call(write(folder, document), "--known", "dog")
    assert status == 1
    assert_says(out, "1 refused", "1 videos have no frames: empty", own_data.file_name("b", 1))
    assert_says(err, "annotations 0", "-1.0", "annotations 4", 55)
    # what cannot be loaded has no images to look for; mended, they are
    document["annotations"] = document["annotations"][5:]
    status, out, err = call(write(folder, document, "second.json"), "--known", "dog")
    assert status == 1
    assert_says(err, "1 of 6", "a/img1")


def test_names_registrations_and_functions(call, folder):
    file = write(folder, own_data.coco())
    status, out, _ = call("--register", "own_one", file, folder, "coco", "--read", "2")
    assert status == 0
    assert_says(out, "own_one", "coco", "6 images", "9 labels")
    record = {"file_name": str(folder / own_data.file_name("a", 0)), "image_id": 1, "width": 64, "height": 48}
    label = {"bbox": [1, 2, 3, 4], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1}
    DatasetCatalog.register("own_two", lambda: [{**record, "annotations": [label]}])
    MetadataCatalog.get("own_two").set(thing_classes=["dog", "car"])
    status, out, _ = call("own_two", "--known", "dog")
    assert status == 0
    assert_says(out, "own_two", "other classes", 1)
    label["bbox"] = [1, 2, 3]
    assert call("own_two")[0] == 1


@pytest.mark.parametrize(
    "arguments, data",
    [
        ([], "names"),
        (["nowhere"], "nowhere"),
        (["--register", "a", "b"], "a b"),
        (["--register", "davis_tao", "a.json", "b"], "'davis_tao' is taken"),
        (["tao_ow_val", "--distractor", "camel"], "--distractor needs --known"),
        (["tao_ow_val", "--read", "-1"], "-1"),
    ],
)
def test_bad_arguments(call, arguments, data):
    status, _, err = call(*arguments)
    assert status == 2 and data in err


def test_files_that_cannot_be_read(call, folder):
    (folder / "data.json").write_text("")
    status, _, err = call(folder / "data.json")
    assert status == 1
    assert_says(err, "data.json", "empty")
    status, _, err = call("--register", "own_one", folder / "gone.json", folder)
    assert status == 1
    assert_says(err, "own_one", "gone.json")


def test_deep_images_and_the_files_of_users(call):
    status, out, _ = call(shared_data("..", "cases", "training", "x16", "a.json"))
    assert status == 0
    assert_says(out, "4 images", "4 labels")
    status, out, _ = call(shared_data("..", "cases", "training", "poly.json"))
    assert status == 1
    assert_says(out, "annotations.bbox (4)")


def test_data_without_annotations_is_for_tracking(call, folder):
    document = own_data.coco()
    assert "not trained on" not in call(write(folder, document))[1]
    for number, lacking in enumerate(({**document, "annotations": []}, {"images": document["images"]})):
        status, out, _ = call(write(folder, lacking, f"{number}.json"))
        assert status == 0
        assert_says(out, "warning: no annotations", "not trained on")
