"""Datasets in TAO format: registered without reading, loaded in order, clear about what is missing."""

import json
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import shared_data
from helpers.configs import plugin_config
from helpers.messages import raises
from PIL import Image

from effowt_d2.data import load_tao_format, register_tao_format
from effowt_d2.data.datasets.tao_ow import register_all_tao_ow
from effowt_d2.engine.data_checks import check_test_datasets

NAMES = ("tao_ow_train", "tao_ow_val", "tao_ow_test", "davis_tao")


def write(folder, document):
    (folder / "frames").mkdir()
    (folder / "gt.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return folder / "gt.json", folder / "frames"


def small_set():
    image = {"width": 40, "height": 30}
    box = {"category_id": 805, "bbox": [1, 2, 3, 4], "area": 12}
    return {
        "videos": [{"id": 1}, {"id": 2}],
        "images": [
            {"id": 5, "video_id": 2, "frame_index": 3, "file_name": "val/b/3.jpg", **image},
            {"id": 6, "video_id": 1, "frame_index": 60, "file_name": "val/a/60.jpg", **image},
            {"id": 7, "video_id": 1, "frame_index": 30, "file_name": "val/a/30.jpg", **image},
        ],
        "annotations": [{"id": 1, "image_id": 6, "video_id": 1, "track_id": 9, **box}],
    }


def test_records_by_video_and_time(tmp_path):
    json_file, root = write(tmp_path, small_set())
    records = load_tao_format(json_file, root)
    assert [record["image_id"] for record in records] == [7, 6, 5]
    assert records[0]["file_name"] == str(root / "val/a/30.jpg") and records[0]["annotations"] == []
    (box,) = records[1]["annotations"]
    assert (box["category_id"], box["track_id"], box["instance_id"], box["bbox"]) == (0, 9, 9, [1, 2, 3, 4])
    document = small_set()
    del document["annotations"]
    json_file.write_text(json.dumps(document))
    assert len(load_tao_format(json_file, root)) == 3


def test_frame_rates_where_the_file_or_the_caller_gives_them(tmp_path):
    document = small_set()
    json_file, root = write(tmp_path, document)
    assert all("frame_rate" not in record for record in load_tao_format(json_file, root))
    assert {record["frame_rate"] for record in load_tao_format(json_file, root, frame_rate=1.0)} == {1.0}
    # 30 frames a second are counted, every 30th is listed
    document["videos"][0]["fps"] = 30
    json_file.write_text(json.dumps(document))
    rates = [record.get("frame_rate") for record in load_tao_format(json_file, root)]
    assert rates == [1.0, 1.0, None]


@pytest.mark.parametrize(
    "document, data",
    [
        ('{"images": [', ("JSON",)),
        ("[]", ("tao", "list of 0 entries")),
        ({**small_set(), "images": [{"id": 5}]}, ("images 0", "id 5", "video_id")),
        ({**small_set(), "annotations": [{"image_id": 77}]}, ("annotations 0", "image_id 77", "category_id")),
    ],
)
def test_damaged_file_is_named(tmp_path, document, data):
    json_file, root = write(tmp_path, document)
    with raises(ValueError, json_file, *data):
        load_tao_format(json_file, root)


@pytest.fixture
def catalogs():
    """Catalogs without this module's names, as they were before afterwards."""
    kept = {name: (DatasetCatalog.pop(name), MetadataCatalog.pop(name)) for name in NAMES}
    yield
    for name, (load, metadata) in kept.items():
        DatasetCatalog.pop(name, None)
        MetadataCatalog.pop(name, None)
        DatasetCatalog.register(name, load)
        MetadataCatalog[name] = metadata


def test_missing_files_are_named_with_their_source(tmp_path, catalogs):
    register_all_tao_ow(tmp_path)
    with raises(FileNotFoundError, "tao/annotations/validation.json", "taodataset.org"):
        DatasetCatalog.get("tao_ow_val")
    with raises(FileNotFoundError, "test_without_annotations.json"):
        DatasetCatalog.get("tao_ow_test")
    (tmp_path / "tao" / "annotations").mkdir(parents=True)
    (tmp_path / "tao" / "annotations" / "validation.json").write_text(json.dumps(small_set()))
    with raises(FileNotFoundError, "tao/frames"):
        DatasetCatalog.get("tao_ow_val")
    (tmp_path / "tao" / "frames").mkdir()
    assert len(DatasetCatalog.get("tao_ow_val")) == 3
    metadata = MetadataCatalog.get("tao_ow_val")
    assert metadata.evaluator_type == "tao_ow" and metadata.json_file.endswith("tao/annotations/validation.json")
    assert MetadataCatalog.get("tao_ow_train").split == "train" and metadata.split == "val"


def test_a_folder_of_ones_own(tmp_path):
    json_file, root = write(tmp_path, small_set())
    register_tao_format("own_videos", json_file, root, source="ask Ann")
    try:
        assert len(DatasetCatalog.get("own_videos")) == 3
        json_file.unlink()
        with raises(FileNotFoundError, json_file, "ask Ann"):
            DatasetCatalog.get("own_videos")
    finally:
        DatasetCatalog.remove("own_videos")
        MetadataCatalog.remove("own_videos")


def test_real_davis_frames_are_there(catalogs):
    register_all_tao_ow(shared_data("davis_tao").parent)
    records = DatasetCatalog.get("davis_tao")
    assert len(records) == 191 and len({record["video_id"] for record in records}) == 10
    assert all(Path(record["file_name"]).is_file() for record in records)


@pytest.mark.parametrize("rate", [None, 2.0])
def test_memory_in_seconds_needs_datasets_that_tell_their_rate(tmp_path, rate):
    document = {**small_set(), "categories": [{"id": 805, "name": "person"}]}
    json_file, root = write(tmp_path, document)
    for image in document["images"]:
        (root / image["file_name"]).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(root / image["file_name"])
    register_tao_format("own_videos", json_file, root, frame_rate=rate)
    cfg = plugin_config(DATASETS__TEST=("own_videos",), OUTPUT_DIR=str(tmp_path))
    try:
        check_test_datasets(cfg)
        cfg.TRACKER.MEMORY_SECONDS = 3.0
        if rate is None:
            with raises(ValueError, "MEMORY_SECONDS", 3.0, "own_videos"):
                check_test_datasets(cfg)
        else:
            check_test_datasets(cfg)
    finally:
        DatasetCatalog.remove("own_videos")
        MetadataCatalog.remove("own_videos")
