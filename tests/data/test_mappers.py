"""Two views of an image whose objects differ in colour, and unchanged frames."""

import numpy as np
import pytest
import torch
from detectron2.structures import BoxMode
from helpers.configs import plugin_config
from helpers.messages import raises
from PIL import Image

from effowt_d2.data import FrameMapper, ImageReadError, TwoViewMapper
from effowt_d2.data.views import seeded

# by instance id: colour, box x0, y0, x1, y1
OBJECTS = {7: ((250, 0, 0), (10, 12, 40, 50)), 8: ((0, 250, 0), (60, 5, 90, 30)), 9: ((0, 0, 250), (50, 60, 110, 75))}


def make_config(**options):
    keys = {
        "INPUT.FORMAT": "RGB",
        "INPUT.MIN_SIZE_TRAIN": (60, 90, 120),
        "INPUT.MAX_SIZE_TRAIN": 200,
        "DATA.LSJ_SIZE": 96,
    }
    return plugin_config(keys, **options)


def annotation(box, **more):
    return {"bbox": list(box), "bbox_mode": BoxMode.XYXY_ABS, "category_id": 3, "iscrowd": 0, **more}


@pytest.fixture
def record(tmp_path):
    image = np.zeros((80, 120, 3), dtype=np.uint8)
    for colour, (x0, y0, x1, y1) in OBJECTS.values():
        image[y0:y1, x0:x1] = colour
    Image.fromarray(image).save(tmp_path / "objects.png")
    return {
        "file_name": str(tmp_path / "objects.png"),
        "image_id": 4,
        "height": 80,
        "width": 120,
        "annotations": [annotation(box, instance_id=number) for number, (_, box) in OBJECTS.items()],
    }


def box_of_colour(image, colour):
    """Box around the pixels of a colour; None if there are none."""
    near = (image.permute(1, 2, 0).float() - torch.tensor(colour)).abs().amax(dim=2) < 100
    rows, columns = torch.nonzero(near, as_tuple=True)
    return None if not len(rows) else torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"INPUT__CROP__ENABLED": True, "INPUT__CROP__SIZE": [0.4, 0.4], "DATA__MIN_BOX_SIDE": 6.0},
        {"DATA__SCALING": "lsj", "DATA__LSJ_SCALE": [0.5, 2.5], "DATA__COLOR_JITTER": 0.2},
        {"INPUT__RANDOM_FLIP": "vertical"},
    ],
)
def test_ids_stay_with_their_objects_in_both_views(record, options):
    mapper = TwoViewMapper(make_config(**options))
    shapes, missing = set(), 0
    for seed in range(12):
        with seeded([seed]):
            sample = mapper(record)
        for view in (sample, sample["reference"]):
            instances = view["instances"]
            assert view["image"].dtype == torch.uint8 and view["image"].shape[1:] == instances.image_size
            assert (instances.gt_classes == 0).all()
            shapes.add((sample["image"].shape, sample["reference"]["image"].shape))
            missing += len(OBJECTS) - len(instances)
            for number, box in zip(instances.gt_ids.tolist(), instances.gt_boxes.tensor):
                seen = box_of_colour(view["image"], OBJECTS[number][0])
                assert seen is not None and (seen - box).abs().max() <= 2, (seed, number, seen, box)
    assert any(first != second for first, second in shapes) or "INPUT__RANDOM_FLIP" in options
    assert missing > 0 if "INPUT__CROP__ENABLED" in options else True


def test_views_repeat_with_their_seed_and_leave_the_stream_alone(record):
    mapper = TwoViewMapper(make_config())
    np.random.seed(1)
    expected = np.random.rand()
    np.random.seed(1)
    samples = []
    for seed in (5, 5, 6):
        with seeded([seed, 2]):
            samples.append(mapper(record))
    assert np.random.rand() == expected
    assert torch.equal(samples[0]["image"], samples[1]["image"])
    assert torch.equal(samples[0]["reference"]["image"], samples[1]["reference"]["image"])
    assert not all(
        torch.equal(
            samples[0][key]["image"] if key else samples[0]["image"],
            samples[2][key]["image"] if key else samples[2]["image"],
        )
        for key in ("", "reference")
    )


def test_crowds_and_small_boxes_are_omitted(record):
    record["annotations"][0]["iscrowd"] = 1
    record["annotations"].append(annotation((100, 2, 101, 40), instance_id=10))
    sample = TwoViewMapper(make_config(INPUT__MIN_SIZE_TRAIN=(80,), DATA__MIN_BOX_SIDE=1.5))(record)
    assert sample["instances"].gt_ids.tolist() == [8, 9]
    sample = TwoViewMapper(make_config(INPUT__MIN_SIZE_TRAIN=(80,), DATA__MIN_BOX_SIDE=0.5))(record)
    assert sample["instances"].gt_ids.tolist() == [8, 9, 10]


@pytest.mark.parametrize("ids", [(None, None, None), (4, 4, 5), (3, None, 5)])
def test_ids_that_do_not_distinguish_objects_become_places(record, ids):
    for item, number in zip(record["annotations"], ids):
        del item["instance_id"]
        if number is not None:
            item["track_id"] = number
    assert TwoViewMapper(make_config())(record)["instances"].gt_ids.tolist() == [0, 1, 2]


def test_views_know_whether_all_objects_are_labelled(record):
    for given, complete in ((record, True), ({**record, "complete": False}, False)):
        sample = TwoViewMapper(make_config())(given)
        assert sample["complete"] is sample["reference"]["complete"] is complete


def test_image_without_objects(record):
    sample = TwoViewMapper(make_config())({**record, "annotations": []})
    assert sample["instances"].gt_boxes.tensor.shape == (0, 4) == sample["reference"]["instances"].gt_boxes.tensor.shape


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (1, 1)])
@pytest.mark.parametrize("scaling", ["shortest_edge", "lsj"])
def test_thin_images(tmp_path, size, scaling):
    file = tmp_path / "thin.png"
    Image.new("RGB", size).save(file)
    record = {"file_name": str(file), "image_id": 1, "annotations": []}
    sample = TwoViewMapper(make_config(DATA__SCALING=scaling))(record)
    frame = FrameMapper(make_config(INPUT__MIN_SIZE_TEST=60, INPUT__MAX_SIZE_TEST=100))(record)
    assert min(sample["image"].shape) >= 1 and min(frame["image"].shape) >= 1
    assert (frame["width"], frame["height"]) == size and max(frame["image"].shape) <= 100


def test_frames_keep_what_places_them(record):
    record.update(video_id=3, frame_index=5)
    frame = FrameMapper(make_config(INPUT__MIN_SIZE_TEST=40))(record)
    assert frame.pop("image").shape == (3, 40, 60)
    assert frame == {name: value for name, value in record.items() if name != "annotations"}


def break_file(path, kind):
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:120])
    elif kind == "text":
        path.write_text("no image")
    else:
        Image.new("RGB", (30, 20)).save(path)


@pytest.mark.parametrize(
    "kind, word",
    [
        ("missing", "no such file"),
        ("truncated", "truncated"),
        ("text", "cannot identify"),
        ("resized", "Mismatched"),
    ],
)
@pytest.mark.parametrize("mapper", [TwoViewMapper, FrameMapper])
def test_damaged_file_is_named(record, tmp_path, kind, word, mapper):
    break_file(tmp_path / "objects.png", kind)
    with raises(ImageReadError, record["file_name"], word):
        mapper(make_config())(record)


@pytest.mark.parametrize(
    "options, data",
    [
        ({"DATA__SCALING": "square"}, ("square", "shortest_edge", "lsj")),
        ({"DATA__COLOR_JITTER": 1.5}, ("COLOR_JITTER", 1.5)),
        ({"INPUT__RANDOM_FLIP": "diagonal"}, ("diagonal", "horizontal")),
    ],
)
def test_options_that_do_not_exist(options, data):
    with raises(ValueError, *data):
        TwoViewMapper(make_config(**options))
