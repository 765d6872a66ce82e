"""Missing and damaged image files are found before training, and left out on request."""

import json
import logging

import pytest
from helpers import own_data
from helpers.configs import plugin_config
from helpers.messages import assert_says, raises
from PIL import Image

from effowt_d2.data import ImageReadError, build_video_test_loader
from effowt_d2.data.datasets.registration import register_file
from effowt_d2.data.training_records import load_training_records
from effowt_d2.evaluation import TAOOWEvaluator

NAME = "own_one"


@pytest.fixture
def register(tmp_path):
    """Registers the small set in a format and returns its image folder."""

    def make(format):
        root = own_data.write_images(tmp_path / "images")
        (tmp_path / "data.json").write_text(json.dumps(getattr(own_data, format)()))
        register_file(NAME, tmp_path / "data.json", root, format)
        return root

    with own_data.forgotten(NAME):
        yield make


def config(**options):
    return plugin_config({"DATASETS.TRAIN": (NAME,), "DATALOADER.NUM_WORKERS": 0}, **options)


@pytest.mark.parametrize("format", ["coco", "tao"])
@pytest.mark.parametrize("empty", [False, True])
def test_missing_files_are_counted_by_folder(register, format, empty):
    root = register(format)
    for frame in (0, 2):
        (root / own_data.file_name("a", frame)).unlink()
        if empty:
            (root / own_data.file_name("a", frame)).touch()
    with raises(FileNotFoundError, NAME, "2 of 6", root / "a/img1", "DATA.SKIP_MISSING"):
        load_training_records(config())


@pytest.mark.parametrize("format, images", [("coco", 5), ("tao", 3)])
def test_they_can_be_omitted_and_videos_with_them(register, caplog, format, images):
    root = register(format)
    (root / own_data.file_name("a", 1)).unlink()
    with caplog.at_level(logging.WARNING):
        records = load_training_records(config(DATA__SKIP_MISSING=True))
    assert len(records) == images
    assert_says(caplog.text, NAME, "1 of 6", f"{6 - images} images")


def test_all_missing_is_an_error_even_so(register):
    root = register("tao")
    root.rename(root.with_name("moved"))
    root.mkdir()
    with raises(FileNotFoundError, NAME, "6 of 6", root / "b/img1", "no such folder"):
        load_training_records(config(DATA__SKIP_MISSING=True))


def test_evaluation_leaves_out_the_same_videos(register, tmp_path):
    root = register("tao")
    (root / own_data.file_name("b", 0)).unlink()
    cfg = config(DATA__SKIP_MISSING=True)
    frames = [frame for batch in build_video_test_loader(cfg, NAME) for frame in batch]
    assert {frame["video_id"] for frame in frames} == {1}
    options = {"output_dir": tmp_path, "groups": {"known": ["dog"]}}
    dataset = TAOOWEvaluator(NAME, skip_missing=True, **options).read_ground_truth()
    assert [video.id for video in dataset.videos] == [1] and {a.video_id for a in dataset.annotations} == {1}
    assert len(TAOOWEvaluator(NAME, **options).read_ground_truth().videos) == 2


@pytest.mark.parametrize("fault", ["damaged", "swapped", "float"])
def test_images_that_cannot_be_used_are_found_before_training(register, fault):
    root = register("coco")
    path = root / own_data.file_name("b", 1)
    if fault == "damaged":
        path.write_bytes(path.read_bytes()[:50])
    elif fault == "swapped":
        Image.new("RGB", (own_data.HEIGHT, own_data.WIDTH)).save(path)
    else:
        Image.new("F", (own_data.WIDTH, own_data.HEIGHT), 300.0).save(path, format="TIFF")
    with raises(ImageReadError, path):
        load_training_records(config())
