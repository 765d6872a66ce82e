"""Training batches that depend on seed and number only; whole videos over processes."""

import itertools

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from helpers.configs import plugin_config
from helpers.messages import assert_says, raises
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from effowt_d2.data import build_train_loader, build_video_test_loader
from effowt_d2.data.loaders import load_frame_records
from effowt_d2.data.training_records import load_training_records
from effowt_d2.data.training_sampler import TrainingBatches
from effowt_d2.data.video_sampler import VideoBatches, assign_videos

NAME = "loader_test"


@pytest.fixture
def dataset(tmp_path):
    """Registers records under NAME, each with a picture of its own; the call may give other annotations."""

    def make(records, **metadata):
        for number, record in enumerate(records):
            record.setdefault("file_name", str(tmp_path / "frames" / "clip" / f"{number}.png"))
            record.update(image_id=number, height=record.get("height", 20), width=record.get("width", 30))
            (tmp_path / "frames" / "clip").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (record["width"], record["height"]), (number * 9, 0, 0)).save(record["file_name"])
        DatasetCatalog.register(NAME, lambda: records)
        MetadataCatalog.get(NAME).set(**metadata)

    yield make
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME) if NAME in MetadataCatalog.list() else None


def labelled(category=0, **more):
    box = {"bbox": [2, 3, 12, 9], "bbox_mode": BoxMode.XYWH_ABS, "category_id": category, "iscrowd": 0}
    return {"annotations": [box], **more}


def make_config(**options):
    keys = {
        "DATASETS.TRAIN": (NAME,),
        "DATALOADER.NUM_WORKERS": 0,
        "INPUT.MIN_SIZE_TRAIN": (16, 20, 24),
        "SEED": 1,
        "SOLVER.IMS_PER_BATCH": 2,
        "INPUT.MIN_SIZE_TEST": 16,
    }
    return plugin_config(keys, **options)


def take(batches, count):
    return list(itertools.islice(batches, count))


def same(first, second):
    return first["file_name"] == second["file_name"] and all(
        a.shape == b.shape and torch.equal(a, b)
        for a, b in ((first["image"], second["image"]), (first["reference"]["image"], second["reference"]["image"]))
    )


@pytest.mark.parametrize("group", [False, True])
def test_processes_share_the_batches_of_one(group):
    options = dict(wide=[number % 3 == 0 for number in range(11)], batch_size=4, seed=5, group_by_shape=group)
    whole = take(TrainingBatches(**options), 20)
    shares = [take(TrainingBatches(**options, rank=rank, world_size=2), 20) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares):
        assert sorted(batch) == sorted(parts[0] + parts[1]) and len(parts[0]) == len(parts[1]) == 2
        assert not group or len({index % 3 == 0 for _, index in batch}) == 1
    assert whole != take(TrainingBatches(**{**options, "seed": 6}), 20)


def test_every_epoch_has_every_record_and_the_start_can_be_anywhere():
    batches = TrainingBatches(wide=[False] * 6, batch_size=3, seed=0)
    stream = take(batches, 8)
    for epoch in range(4):
        assert sorted(i for batch in stream[2 * epoch : 2 * epoch + 2] for _, i in batch) == list(range(6))
    batches.start = 5
    assert take(batches, 3) == stream[5:]


def test_batches_do_not_depend_on_workers_and_can_be_resumed(dataset):
    dataset([labelled() for _ in range(5)])
    plain = take(build_train_loader(make_config()), 5)
    with_workers = take(build_train_loader(make_config(DATALOADER__NUM_WORKERS=2)), 5)
    resumed = build_train_loader(make_config())
    resumed.batches.start = 3
    for first, second in [*zip(plain, with_workers), *zip(plain[3:], take(resumed, 2))]:
        assert all(same(a, b) for a, b in zip(first, second)) and len(first) == len(second) == 2
    assert not all(same(a, b) for a, b in zip(plain[0], take(build_train_loader(make_config(SEED=2)), 1)[0]))


def test_every_category_becomes_object_and_others_than_the_wanted_lose_their_labels(dataset):
    dataset([labelled(category) for category in (0, 1, 2, 1)], thing_classes=["cat", "dog", "cow"])
    records = load_training_records(make_config())
    assert [a["category_id"] for record in records for a in record["annotations"]] == [0] * 4
    assert len(load_training_records(make_config(DATA__CLASSES=["cow", "dog"]))) == 3
    every = load_training_records(make_config(DATA__CLASSES=["cow"], DATALOADER__FILTER_EMPTY_ANNOTATIONS=False))
    assert [len(record["annotations"]) for record in every] == [0, 0, 1, 0]
    with raises(ValueError, "horse", "cat", "dog"):
        load_training_records(make_config(DATA__CLASSES=["horse"]))
    DatasetCatalog.get(NAME)[2]["annotations"][0]["iscrowd"] = 1
    with raises(ValueError, "cow"):
        load_training_records(make_config(DATA__CLASSES=["cow"]))


def test_dataset_without_annotations_is_refused(dataset):
    dataset([{}, {"annotations": []}])
    with raises(ValueError, NAME, 2):
        load_training_records(make_config())


def test_box_that_is_not_finite_is_refused(dataset):
    dataset([labelled(), labelled()])
    DatasetCatalog.get(NAME)[1]["annotations"][0]["bbox"][2] = float("nan")
    with raises(ValueError, "1.png", "nan"):
        load_training_records(make_config())


def test_evaluation_videos_are_refused(dataset):
    dataset([labelled()], evaluator_type="tao_ow", split="val")
    with raises(ValueError, NAME):
        load_training_records(make_config())
    MetadataCatalog.remove(NAME)
    MetadataCatalog.get(NAME).set(evaluator_type="tao_ow", split="train")
    assert len(load_training_records(make_config())) == 1


@pytest.mark.parametrize("listed", ["clip", "frames/clip", "frames/clip/1.png", "1"])
def test_names_on_the_exclusion_list_are_refused(dataset, tmp_path, listed):
    dataset([labelled(), labelled()])
    names = tmp_path / "excluded.txt"
    names.write_text(f"# names of the test videos\n\nother\n{listed}  # seen in 2019\n")
    with raises(ValueError, NAME, names, listed):
        load_training_records(make_config(DATA__EXCLUSION_LIST=str(names)))
    names.write_text("other\nclip/7\n")
    assert len(load_training_records(make_config(DATA__EXCLUSION_LIST=str(names)))) == 2
    with raises(FileNotFoundError, "nowhere.txt"):
        load_training_records(make_config(DATA__EXCLUSION_LIST="nowhere.txt"))


def track_frames(count, video):
    return [
        {"annotations": [{**labelled()["annotations"][0], "track_id": 7}], "video_id": video, "frame_index": n}
        for n in range(count)
    ]


def test_reference_views_come_from_frames_nearby(dataset):
    # two videos whose frames are mixed, a video of one frame, and a still image
    one, two = track_frames(6, 1), track_frames(4, 2)
    records = [*one[::-1], *two, *track_frames(1, 3), labelled()]
    dataset(records)
    shades = {(r.get("video_id"), r.get("frame_index")): 9 * number for number, r in enumerate(records)}
    places = {shade: place for place, shade in shades.items()}
    for gap in (0, 2):
        cfg = make_config(DATA__REFERENCE_GAP=gap, SOLVER__IMS_PER_BATCH=4, INPUT__RANDOM_FLIP="none")
        seen = set()
        for batch in itertools.islice(build_train_loader(cfg), 60):
            for sample in batch:
                (video, frame), (other, near) = (
                    places[int(view["image"].float().max())] for view in (sample, sample["reference"])
                )
                assert video == other and (video is None or abs(frame - near) <= gap)
                assert sample["instances"].gt_ids.tolist() == sample["reference"]["instances"].gt_ids.tolist()
                seen.add((video, 0 if video is None else near - frame))
        steps = range(-gap, gap + 1)
        assert seen == {(None, 0), (3, 0), *((video, step) for video in (1, 2) for step in steps)}


def test_a_gap_between_frames_where_none_has_a_video_is_reported_once(dataset, caplog):
    records = [labelled(), labelled()]
    dataset(records)
    build_train_loader(make_config(DATA__REFERENCE_GAP=3))
    (warning,) = [record for record in caplog.records if "REFERENCE_GAP" in record.getMessage()]
    assert_says(warning.getMessage(), "DATA.REFERENCE_GAP", 3, NAME)
    caplog.clear()
    build_train_loader(make_config())
    records += track_frames(1, 1)
    records[2].update(file_name=records[0]["file_name"], image_id=2, height=20, width=30)
    build_train_loader(make_config(DATA__REFERENCE_GAP=3))
    assert "REFERENCE_GAP" not in caplog.text


@pytest.mark.parametrize("workers", [0, 1])
def test_failure_while_loading_names_the_file(dataset, tmp_path, workers):
    dataset([labelled(), labelled(video_id=1, frame_index=0)])
    file = tmp_path / "frames" / "clip" / "1.png"
    cfg = make_config(DATALOADER__NUM_WORKERS=workers)
    loaders = (build_train_loader(cfg), build_video_test_loader(cfg, NAME))
    # damaged after the images were looked at
    file.write_bytes(file.read_bytes()[:40])
    for loader in loaders:
        with raises(OSError, file):
            take(loader, 4)


def test_options_that_cannot_be(dataset):
    dataset([labelled()])
    for options, data in (
        ({"SOLVER__IMS_PER_BATCH": 0}, ("IMS_PER_BATCH", 0)),
        ({"DATALOADER__SAMPLER_TRAIN": "RepeatFactorTrainingSampler"}, ("RepeatFactorTrainingSampler",)),
        ({"DATASETS__TRAIN": ()}, ("DATASETS.TRAIN",)),
    ):
        with raises(ValueError, *data):
            build_train_loader(make_config(**options))
    with raises(ValueError, "batch_size", 3, 2):
        TrainingBatches(wide=[True], batch_size=3, seed=0, world_size=2)
    with raises(ValueError, "TEST.FRAMES_PER_BATCH", 0):
        build_video_test_loader(make_config(TEST__FRAMES_PER_BATCH=0), NAME)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_videos_are_dealt_whole_and_evenly(lengths, ranks):
    parts = assign_videos(lengths, ranks)
    assert sorted(video for part in parts for video in part) == list(range(len(lengths)))
    loads = [sum(lengths[video] for video in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths)


def test_the_longest_video_is_dealt_first():
    assert assign_videos([1, 1, 2], 2) == [[2], [0, 1]]
    assert assign_videos([5], 3) == [[0], [], []]


def test_batches_are_consecutive_frames_of_one_video():
    videos = [range(0, 5), range(5, 7), range(7, 8)]
    assert list(VideoBatches(videos, frames_per_batch=2)) == [[0, 1], [2, 3], [4], [5, 6], [7]]
    shares = [list(VideoBatches(videos, frames_per_batch=2, rank=rank, world_size=4)) for rank in range(4)]
    assert shares == [[[0, 1], [2, 3], [4]], [[5, 6]], [[7]], []]


def test_frames_come_in_order_with_their_place(dataset):
    dataset([{"video_id": video, "frame_index": index} for video, index in ((2, 40), (1, 9), (2, 10), (1, 3), (2, 30))])
    batches = list(build_video_test_loader(make_config(TEST__FRAMES_PER_BATCH=2), NAME))
    places = [[(frame["video_id"], frame["frame_index"], frame["image_id"]) for frame in batch] for batch in batches]
    assert places == [[(2, 0, 2), (2, 1, 4)], [(2, 2, 0)], [(1, 0, 3), (1, 1, 1)]]
    assert DatasetCatalog.get(NAME)[0]["frame_index"] == 40
    DatasetCatalog.get(NAME)[0]["frame_index"] = 10
    with raises(ValueError, 2, "frame_index", 10):
        load_frame_records(NAME)


def test_still_images_come_one_by_one(dataset):
    dataset([{}, {}])
    batches = list(build_video_test_loader(make_config(TEST__FRAMES_PER_BATCH=4), NAME))
    assert [len(batch) for batch in batches] == [1, 1] and "frame_index" not in batches[0][0]


@pytest.mark.parametrize("grouped", [True, False])
def test_wide_and_high_images_are_batched_apart_where_the_config_asks_for_it(dataset, grouped):
    dataset([labelled(width=20 + 20 * (number % 2), height=30) for number in range(8)])
    batches = take(build_train_loader(make_config(DATALOADER__ASPECT_RATIO_GROUPING=grouped)), 12)
    mixed = [len({sample["width"] > sample["height"] for sample in batch}) > 1 for batch in batches]
    assert any(mixed) != grouped
