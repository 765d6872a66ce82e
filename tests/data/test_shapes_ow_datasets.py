"""ShapesOW as datasets: annotation files, records and names."""

import dataclasses
import json

import cv2
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.processes import environment, run_python
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from shapes_lab.baselines import BASELINES

from effowt_d2.data.datasets.shapes_ow import (
    EVALUATED,
    load_shapes_ow_images,
    load_shapes_ow_videos,
    register_all_shapes_ow,
)
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit
from effowt_d2.data.shapes_ow.vocabulary import (
    KNOWN_COUNTS,
    known_shapes,
)
from effowt_d2.evaluation import evaluate_tao_ow

IMAGES = ImageSplit(count=6, size=96, objects=(2, 4), radii=(10.0, 24.0))

VIDEOS = VideoSplit(videos=3, frames=8, size=96, objects=(3, 4), radii=(10.0, 20.0))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes_ow" / "train"
    return folder, load_shapes_ow_images(IMAGES, folder)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes_ow" / "val"
    return folder, load_shapes_ow_videos(VIDEOS, folder)


def test_training_file_is_coco_with_known_shapes_only(images):
    folder, records = images
    coco = COCO(str(folder / "annotations.json"))
    names = {c["id"]: c["shape"] for c in coco.dataset["categories"]}
    assert len(coco.dataset["annotations"]) > 0
    for annotation in coco.dataset["annotations"]:
        assert names[annotation["category_id"]] in known_shapes()
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation["area"]
        assert coco_mask.toBbox(annotation["segmentation"]).tolist() == annotation["bbox"]
    assert len(records) == IMAGES.count


def test_records_are_class_agnostic_and_their_files_exist(images):
    _, records = images
    for record in records:
        assert cv2.imread(record["file_name"]).shape == (record["height"], record["width"], 3)
        assert {a["category_id"] for a in record["annotations"]} <= {0}
    ids = [a["instance_id"] for r in records for a in r["annotations"]]
    assert len(set(ids)) == len(ids)


def test_video_records_are_in_order_and_tracks_are_consistent(videos):
    folder, records = videos
    order = [(r["video_id"], r["frame_index"]) for r in records]
    assert order == [(v, t) for v in (1, 2, 3) for t in range(VIDEOS.frames)]
    document = json.loads((folder / "annotations_8.json").read_text())
    tracks = {t["id"]: t for t in document["tracks"]}
    assert {a["track_id"] for a in document["annotations"]} == set(tracks)
    for annotation in document["annotations"]:
        assert tracks[annotation["track_id"]]["category_id"] == annotation["category_id"]
        assert tracks[annotation["track_id"]]["video_id"] == annotation["video_id"]
        x, y, width, height = annotation["bbox"]
        assert x >= 0 and y >= 0 and x + width <= VIDEOS.size and y + height <= VIDEOS.size and width * height > 0
    pairs = [(a["image_id"], a["track_id"]) for a in document["annotations"]]
    assert len(set(pairs)) == len(pairs)
    assert all(a["track_id"] == a["instance_id"] for r in records for a in r["annotations"])
    assert all(r["video_length"] == VIDEOS.frames for r in records)


def test_baselines_are_ordered_as_a_benchmark_must_order_them(videos, tmp_path):
    folder, _ = videos
    ground_truth = folder / "annotations_8.json"
    document = json.loads(ground_truth.read_text())
    scores = []
    for make in BASELINES.values():
        path = tmp_path / "results.json"
        path.write_text(json.dumps(make(document)))
        scores.append(evaluate_tao_ow(str(ground_truth), str(path))["all"]["OWTA"])
    assert scores[0] == pytest.approx(100)
    assert scores[0] > scores[1] > scores[2] + 10 > scores[3] + 20, dict(zip(BASELINES, scores, strict=True))


def test_only_the_group_differs_between_the_annotation_files(videos):
    folder, _ = videos
    documents = [json.loads((folder / f"annotations_{known}.json").read_text()) for known in KNOWN_COUNTS]
    groups = [document.pop("open_world") for document in documents]
    assert documents[0] == documents[1] == documents[2]
    assert [len(group["known"]) for group in groups] == [160, 320, 640]


def test_a_split_without_changes_has_the_stamp_it_always_had(videos, tmp_path):
    folder, records = videos
    stamp = json.loads((folder / "stamp.json").read_text())
    assert "changing" not in stamp and stamp["videos"] == VIDEOS.videos
    changing = load_shapes_ow_videos(dataclasses.replace(VIDEOS, changing=True), tmp_path / "val_changing")
    assert json.loads((tmp_path / "val_changing" / "stamp.json").read_text())["changing"] is True
    boxes = lambda found: [[a["bbox"] for a in record["annotations"]] for record in found]  # noqa: E731
    assert boxes(changing) == boxes(records)


def test_registration_neither_renders_nor_reads(tmp_path):
    code = (
        "import time; from effowt_d2.data.datasets.shapes_ow import register_all_shapes_ow as r;"
        "t = time.process_time(); r(); r(); assert time.process_time() - t < 0.5;"
        "from detectron2.data import DatasetCatalog, MetadataCatalog as M;"
        "assert {'shapes_ow_train_4', 'shapes_ow_val', 'shapes_ow_test_16'} <= set(DatasetCatalog.list());"
        "assert {'shapes_ow_val_changing', 'shapes_ow_train_clips_changing'} <= set(DatasetCatalog.list());"
        "assert M.get('shapes_ow_val_changing').json_file.endswith('val_changing/annotations_8.json');"
        "assert M.get('shapes_ow_val_16').json_file.endswith('val/annotations_16.json');"
        "assert M.get('shapes_ow_val').evaluator_type == 'tao_ow'"
    )
    run_python("-c", code, env=environment(DETECTRON2_DATASETS=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_registered_name_renders_on_first_use(tmp_path, monkeypatch):
    name = "shapes_ow_val"
    saved = DatasetCatalog.pop(name, None)
    MetadataCatalog.pop(name, None)
    monkeypatch.setitem(EVALUATED, "val", VIDEOS)
    try:
        register_all_shapes_ow(tmp_path)
        records = DatasetCatalog.get(name)
        assert len(records) == VIDEOS.videos * VIDEOS.frames
        assert records[0]["file_name"].startswith(MetadataCatalog.get(name).image_root)
    finally:
        DatasetCatalog.pop(name)
        MetadataCatalog.pop(name)
        if saved:
            register_all_shapes_ow()
