"""ShapesOW: determinism, labels that agree with the pixels, file formats, lazy and safe rendering."""

import json
import multiprocessing
import os
import time

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.messages import raises
from helpers.processes import environment, run_python
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from shapes_lab.baselines import BASELINES

from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images, load_shapes_ow_videos, register_all_shapes_ow
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit, draw_image, draw_video, ensure_rendered
from effowt_d2.data.shapes_ow.labels import MIN_VISIBLE, open_world_groups
from effowt_d2.data.shapes_ow.outlines import outline
from effowt_d2.data.shapes_ow.render import Look, Pose, draw_object
from effowt_d2.data.shapes_ow.vocabulary import (
    KNOWN_COUNTS,
    NOVEL_SHAPES,
    SHAPES,
    all_categories,
    category_id,
    known_shapes,
    prompts,
    unlabelled_shapes,
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


def test_ids_are_those_of_the_categories_and_every_category_has_a_prompt():
    categories = all_categories()
    assert [c.id for c in categories] == list(range(1, len(categories) + 1))
    assert all(category_id(shape=c.shape, texture=c.texture, colour=c.colour) == c.id for c in categories)
    texts = prompts("a {}!")
    assert texts[categories[77].id] == f"a {categories[77].name}!"
    assert len(set(texts.values())) == len(categories)


def test_groups_are_nested_and_novel_shapes_are_in_none():
    assert set(known_shapes(4)) < set(known_shapes(8)) < set(known_shapes(16))
    for known in KNOWN_COUNTS:
        parts = known_shapes(known) + unlabelled_shapes(known) + NOVEL_SHAPES
        assert sorted(parts) == sorted(SHAPES)
        entries = open_world_groups(known)
        assert len(entries["open_world"]["known"]) == known * 40
        assert not set(entries["open_world"]["known"]) & set(entries["novel_category_ids"])


def test_an_unknown_group_or_split_names_what_exists():
    with raises(ValueError, 5, 4, 8):
        known_shapes(5)
    with raises(ValueError, "train", "val", "test"):
        VideoSplit(name="train")


def test_a_wrong_word_names_the_vocabulary():
    with raises(KeyError, "teapot", "disc"):
        category_id(shape="teapot", texture="plain", colour="red")
    with raises(KeyError, "teapot"):
        outline("teapot")


def silhouettes(size: int = 96) -> dict[str, np.ndarray]:
    masks = {}
    for shape in SHAPES:
        frame, owners = np.zeros((size, size, 3), np.float32), np.full((size, size), -1, np.int16)
        look = Look(shape, "plain", "red", (200, 0, 0), (90, 0, 0), 1.5, 0.0, 1.0)
        draw_object(frame, owners, 0, look, Pose(size / 2, size / 2, 0.4 * size, 0.0), light=(1.0, 0.0))
        masks[shape] = owners == 0
    return masks


def test_no_two_shapes_look_alike():
    masks = silhouettes()
    for first in SHAPES:
        for second in SHAPES[SHAPES.index(first) + 1 :]:
            union = np.count_nonzero(masks[first] | masks[second])
            assert np.count_nonzero(masks[first] & masks[second]) / union < 0.88, (first, second)


def test_outlines_fill_the_unit_circle():
    for shape in SHAPES:
        points = np.concatenate(outline(shape))
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1.0)


def test_an_image_depends_on_its_index_only():
    first, labels = draw_image(IMAGES, 3)
    draw_image(IMAGES, 0)
    again, same = draw_image(ImageSplit(count=100, size=96, objects=(2, 4), radii=(10.0, 24.0)), 3)
    assert np.array_equal(first, again) and labels == same
    assert not np.array_equal(first, draw_image(IMAGES, 4)[0])


def test_val_and_test_share_no_video():
    val = next(draw_video(VIDEOS, 0)[1])[0]
    test = next(draw_video(VideoSplit(name="test", videos=3, frames=8, size=96, objects=(3, 4)), 0)[1])[0]
    assert not np.array_equal(val, test)


def test_occlusion_moves_the_label_to_the_visible_part():
    frame, owners = np.zeros((64, 64, 3), np.float32), np.full((64, 64), -1, np.int16)
    look = Look("frame", "plain", "red", (200, 0, 0), (90, 0, 0), 1.5, 0.0, 1.0)
    disc = Look("disc", "plain", "blue", (0, 0, 200), (0, 0, 90), 1.5, 0.0, 1.0)
    whole = draw_object(frame, owners, 0, look, Pose(32, 32, 24, 0.0), light=(1.0, 0.0))
    assert np.count_nonzero(owners == 0) == whole
    assert owners[32, 32] == -1, "the hole of the frame is background"
    draw_object(frame, owners, 1, disc, Pose(32, 32, 8, 0.0), light=(1.0, 0.0))
    assert owners[32, 32] == 1
    hidden = draw_object(frame, owners, 2, disc, Pose(-100, 32, 8, 0.0), light=(1.0, 0.0))
    assert hidden > 150 and not np.any(owners == 2), "outside the frame an object keeps its area and hides nothing"


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


def test_unlabelled_objects_are_drawn_but_not_annotated():
    everything_hidden = ImageSplit(count=1, size=96, objects=(3, 3), radii=(20.0, 24.0), unlabelled=1.0)
    picture, labels = draw_image(everything_hidden, 0)
    labelled = ImageSplit(count=1, size=96, objects=(3, 3), radii=(20.0, 24.0), unlabelled=0.0)
    assert labels == []
    assert len(draw_image(labelled, 0)[1]) > 0
    saturation = np.ptp(picture.astype(int), axis=2)
    assert np.count_nonzero(saturation > 100) > 200, "bright objects are in the picture"


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


def test_motion_per_frame_is_at_most_a_third_of_the_object():
    tracks, _ = draw_video(VideoSplit(), 0)
    for track in tracks:
        for before, after in zip(track.poses, track.poses[1:]):
            assert np.hypot(after.x - before.x, after.y - before.y) <= 2 * before.radius / 3


def test_videos_have_what_makes_tracking_hard():
    gaps = occluded = twins = 0
    for index in range(8):
        tracks, frames = draw_video(VideoSplit(frames=24), index)
        seen = np.array([[number in parts for number in range(len(tracks))] for _, parts in frames])
        words = [track.look.category_id for track in tracks]
        twins += len(words) - len(set(words))
        for column in seen.T:
            visible = np.flatnonzero(column)
            gaps += len(visible) > 0 and not column[visible[0] : visible[-1]].all()
    for index in range(4):
        tracks, frames = draw_video(VideoSplit(frames=12), index)
        for _, parts in frames:
            boxes = [part["bbox"] for part in parts.values()]
            overlap = coco_mask.iou(boxes, boxes, [0] * len(boxes))
            occluded += int(np.count_nonzero(np.triu(overlap, 1) > 0.1))
    assert gaps >= 5 and occluded >= 10 and twins >= 3, (gaps, occluded, twins)


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


def test_a_rendered_split_is_kept_and_a_changed_one_is_made_again(tmp_path):
    calls = []

    def write(folder):
        calls.append(folder)
        (folder / "content").write_text(str(len(calls)))

    target = tmp_path / "split"
    for parameters in ({"a": 1}, {"a": 1}, {"a": 2}):
        ensure_rendered(target, parameters=parameters, write=write)
    assert len(calls) == 2 and (target / "content").read_text() == "2"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".split-")]


def test_a_failed_rendering_leaves_nothing_behind(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise RuntimeError("disk full")

    with raises(RuntimeError, "disk full"):
        ensure_rendered(tmp_path / "split", parameters={}, write=fail)
    assert not (tmp_path / "split").exists()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def _slow_write(folder):
    time.sleep(0.5)
    (folder / str(os.getpid())).write_text("")


def _ensure(target):
    ensure_rendered(target, parameters={"a": 1}, write=_slow_write)


def test_several_processes_render_once(tmp_path):
    target = tmp_path / "split"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_ensure, args=(target,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len([path for path in target.iterdir() if path.name != "stamp.json"]) == 1


def test_a_folder_that_cannot_be_written_is_named_before_rendering(tmp_path):
    (tmp_path / "file").write_text("")
    with raises(PermissionError, "DETECTRON2_DATASETS"):
        load_shapes_ow_images(ImageSplit(), tmp_path / "file" / "shapes_ow" / "train")


def test_registration_neither_renders_nor_reads(tmp_path):
    code = (
        "import time; from effowt_d2.data.datasets.shapes_ow import register_all_shapes_ow as r;"
        "t = time.process_time(); r(); r(); assert time.process_time() - t < 0.5;"
        "from detectron2.data import DatasetCatalog, MetadataCatalog as M;"
        "assert {'shapes_ow_train_4', 'shapes_ow_val', 'shapes_ow_test_16'} <= set(DatasetCatalog.list());"
        "assert M.get('shapes_ow_val_16').json_file.endswith('val/annotations_16.json');"
        "assert M.get('shapes_ow_val').evaluator_type == 'tao_ow'"
    )
    run_python("-c", code, env=environment(DETECTRON2_DATASETS=str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_registered_name_renders_on_first_use(tmp_path, monkeypatch):
    name = "shapes_ow_val"
    saved = DatasetCatalog.pop(name, None)
    MetadataCatalog.pop(name, None)
    monkeypatch.setattr("effowt_d2.data.datasets.shapes_ow.VideoSplit", lambda name: VIDEOS)
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


def test_least_visible_share_is_kept():
    split = VideoSplit(videos=1, frames=6, size=96, objects=(6, 6), radii=(18.0, 24.0))
    tracks, frames = draw_video(split, 0)
    whole = {number: np.pi * track.poses[0].radius ** 2 for number, track in enumerate(tracks)}
    for _, parts in frames:
        for number, part in parts.items():
            # no shape covers less than an eighth of its circle, nor does an object shrink below half its area
            assert part["area"] >= MIN_VISIBLE * whole[number] / 16
