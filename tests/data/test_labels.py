"""Which labels are trained on: the known classes of the config or of the files, and a count of what became of the rest."""

import logging

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from helpers import own_data
from helpers.configs import plugin_config
from helpers.messages import assert_says, raises

from effowt_d2.data.datasets.registration import register_file
from effowt_d2.data.labels import training_labels
from effowt_d2.data.training_records import load_training_records


def write(folder, document):
    import json

    (folder / "data.json").write_text(json.dumps(document))
    return folder / "data.json"


@pytest.fixture
def register(tmp_path):
    """Registers a document under a name; the images are there."""
    names = []

    def make(name, document, format="", **metadata):
        folder = tmp_path / name
        own_data.write_images(folder)
        register_file(name, write(folder, document), folder, format)
        MetadataCatalog.get(name).set(**metadata)
        names.append(name)

    with own_data.forgotten("own_one", "own_two", "catalog_set"):
        yield make


def config(*names, **options):
    return plugin_config({"DATASETS.TRAIN": names}, **options)


def trained(*names, **options):
    """(track or box, category) of the labels that are trained on."""
    records = load_training_records(config(*names, **options))
    labels = [label for record in records for label in record["annotations"]]
    assert all(label["category_id"] == 0 for label in labels)
    return sorted({(label.get("track_id"), label["dataset_category_id"]) for label in labels})


@pytest.mark.parametrize("format", ["tao", "coco", "coco_vid", "youtube_vis", "burst"])
def test_classes_of_the_config_in_every_format(register, format):
    register("own_one", getattr(own_data, format)(), format)
    with_ids = format != "coco"
    expected = [(5 if with_ids else None, 7)]
    assert trained("own_one", DATA__CLASSES=["car"]) == expected == trained("own_one", DATA__CLASSES=[7])
    assert len(trained("own_one")) == 3


def test_groups_of_the_file_decide_without_classes(register, caplog):
    register("own_one", {**own_data.tao(), "open_world": {"known": ["dog"], "distractor": [9]}})
    with caplog.at_level(logging.INFO):
        assert trained("own_one") == [(1, 3)]
    row = next(line for line in caplog.text.splitlines() if "own_one" in line and "|" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["own_one", "6", "9", "6", "0", "0", "0", "3", "1"]
    # the config's come first
    assert trained("own_one", DATA__CLASSES=["camel"]) == [(2, 9)]


def test_groups_of_the_metadata(register):
    register("own_one", own_data.tao(), open_world_groups={"known": ["camel"]})
    assert trained("own_one") == [(2, 9)]


def test_tao_trains_its_known_classes_only(register, caplog):
    document = own_data.tao()
    ids = {3: 382, 7: 211, 9: 190}
    document["categories"] = [
        {"id": 382, "name": "dog"},
        {"id": 211, "name": "car_(automobile)"},
        {"id": 190, "name": "camel"},
    ]
    for label in (*document["annotations"], *document["tracks"]):
        label["category_id"] = ids[label["category_id"]]
    register("own_one", document, "tao")
    with caplog.at_level(logging.INFO):
        assert trained("own_one") == [(1, 382), (5, 211)]
    row = next(line for line in caplog.text.splitlines() if "own_one" in line and "|" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][2:4] == ["9", "3"]
    assert trained("own_one", DATA__CLASSES=["car", "camel"]) == [(2, 190), (5, 211)]


def test_classes_may_be_spread_over_datasets(register, caplog):
    second = own_data.tao()
    second["categories"][0]["name"] = "cow"
    register("own_one", own_data.tao())
    register("own_two", second)
    with caplog.at_level(logging.INFO):
        assert trained("own_one", "own_two", DATA__CLASSES=["dog", "cow"]) == [(1, 3)]
    assert "'own_one' has no category 'cow'" in caplog.text and "'own_two' has no category 'dog'" in caplog.text
    with raises(ValueError, "['horse', 55]", "own_one", "own_two", "dog", "cow"):
        trained("own_one", "own_two", DATA__CLASSES=["dog", "horse", 55])


def test_equal_names_all_count(register):
    document = own_data.tao()
    document["categories"][2]["name"] = "dog"
    register("own_one", document)
    assert trained("own_one", DATA__CLASSES=["dog"]) == [(1, 3), (2, 9)]


def test_categories_of_a_catalog_function(caplog):
    box = {"bbox": [2, 3, 12, 9], "bbox_mode": BoxMode.XYXY_ABS}
    records = [{"file_name": "x.png", "image_id": 1, "width": 30, "height": 20, "annotations": []}]
    records[0]["annotations"] = [{**box, "category_id": c} for c in (0, 1, 2, 2)]
    with own_data.forgotten("catalog_set"):
        DatasetCatalog.register("catalog_set", lambda: records)
        metadata = MetadataCatalog.get("catalog_set")
        metadata.set(thing_classes=["dog", "car", "dog"], thing_dataset_id_to_contiguous_id={18: 0, 3: 1, 90: 2})
        for wanted, count in ((["dog"], 3), ([18, "car"], 2), ([90], 2), (None, 4)):
            kept, counts = training_labels("catalog_set", records, wanted and {"known": wanted, "distractor": []})
            assert len(kept[0]["annotations"]) == counts.trained == count and counts.objects is None


def boxes(*given):
    labels = [{"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, **more} for box, more in given]
    return [{"file_name": "x.png", "image_id": 1, "width": 30, "height": 20, "annotations": labels}]


def test_what_becomes_of_labels_is_counted():
    records = boxes(
        ([1, 2, 3, 4], {}),
        ([1, 2, 0, 4], {}),
        ([40, 2, 3, 4], {}),
        ([-5, 2, 30, 4], {}),
        ([25, 2, 5.5, 4], {}),
        ([1, 2, 3, 4], {"iscrowd": 1}),
    )
    (record,), counts = training_labels("some", records, None)
    assert [label["bbox"][0] for label in record["annotations"]] == [1, -5, 25, 1]
    numbers = (counts.labels, counts.other, counts.crowd, counts.dropped, counts.clipped, counts.trained)
    assert numbers == (6, 0, 1, 2, 1, 3)
    assert len(records[0]["annotations"]) == 6


@pytest.mark.parametrize(
    "box, mode",
    [
        ([1, 2, -3, 4], BoxMode.XYWH_ABS),
        ([9, 9, 3, 4], BoxMode.XYXY_ABS),
        ([1, 2, float("nan"), 4], BoxMode.XYWH_ABS),
        ([1, 2, 3], BoxMode.XYWH_ABS),
        ([1, 2, 3, "4"], BoxMode.XYWH_ABS),
        ([1, 2, 3, 4, 30], BoxMode.XYWHA_ABS),
        (None, BoxMode.XYWH_ABS),
        ({"x": 1}, BoxMode.XYWH_ABS),
    ],
)
def test_boxes_that_are_refused(box, mode):
    records = boxes(([1, 2, 3, 4], {}), ([1, 2, 3, 4], {"bbox": box, "bbox_mode": mode}))
    with raises(ValueError, "some", "x.png"):
        training_labels("some", records, None)


def test_images_with_one_id():
    records = [*boxes(([1, 2, 3, 4], {})), {"file_name": "y.png", "image_id": 1, "annotations": []}]
    with raises(ValueError, "some", "x.png", "y.png", 1):
        training_labels("some", records, None)


@pytest.mark.parametrize("kind", ["corners", "normalised"])
def test_layouts_that_look_wrong_are_reported(caplog, kind):
    given = [[10, 5, 28, 18], [12, 8, 29, 19]] if kind == "corners" else [[0.1, 0.2, 0.3, 0.4]] * 2
    training_labels("some", boxes(*((box, {}) for box in given)), None)
    assert_says(caplog.text, "some", "[x0, y0, x1, y1]" if kind == "corners" else "0..1")


def test_distractors_need_classes():
    with raises(ValueError, "DATA.DISTRACTORS", "DATA.CLASSES"):
        load_training_records(config("coco_2017_val", DATA__DISTRACTORS=["dog"]))
