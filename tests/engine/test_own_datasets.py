"""Datasets of one's own through train_net.py: one process or two, all formats, and what is wrong before step one."""

import json
import logging
import subprocess
import sys

import pytest
from helpers import dummy_model, own_data
from helpers.messages import assert_says, raises
from helpers.processes import SCRIPT, TIMEOUT, environment, run_python

from effowt_d2.data.datasets.registration import register_datasets
from effowt_d2.data.training_records import load_training_records
from effowt_d2.engine import OpenWorldTrainer
from effowt_d2.engine.data_checks import check_test_datasets

NAMES = ("own_train", "own_val", "own_one")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, and annotation files in all formats."""
    root = own_data.write_mot(own_data.write_images(tmp_path_factory.mktemp("own")))
    for format in ("tao", "coco", "coco_vid", "youtube_vis", "burst"):
        (root / f"{format}.json").write_text(json.dumps(getattr(own_data, format)()))
    return root


@pytest.fixture
def config(folder, tmp_path):
    """A config that trains and evaluates on the small set; the names are forgotten afterwards."""

    def make(train="coco", val="tao", **options):
        entries = [[name, str(place(folder, f)), str(folder), f] for name, f in zip(NAMES, (train, val))]
        keys = {
            "DATA__REGISTER": entries,
            "DATASETS__TRAIN": NAMES[:1],
            "DATASETS__TEST": NAMES[1:2],
            "DATA__CLASSES": ["dog", "car"] if train != "mot" else [],
            "SOLVER__MAX_ITER": 2,
            "SOLVER__CHECKPOINT_PERIOD": 2,
        }
        cfg = dummy_model.config(tmp_path / "output", **{**keys, **options})
        register_datasets(cfg)
        return cfg

    with own_data.forgotten(*NAMES):
        yield make


def place(folder, format):
    return folder if format == "mot" else folder / f"{format}.json"


@pytest.mark.parametrize(
    "train, val",
    [("coco", "tao"), ("tao", "coco_vid"), ("youtube_vis", "youtube_vis"), ("burst", "burst"), ("mot", "mot")],
)
def test_every_format_trains_and_scores(config, train, val):
    classes = {} if val != "mot" else {"TEST__TAO_OW__SUBSETS": ["all"]}
    trainer = dummy_model.train(config(train, val, **classes))
    scores = trainer._last_eval_results["tao_ow"]
    assert 0 <= scores["OWTA-all"] <= 100 and ("OWTA-known" in scores) == (val != "mot")


def test_still_images_are_scored_as_coco(config, folder):
    entries = [
        ["own_train", str(folder / "coco.json"), str(folder)],
        ["own_val", str(folder / "coco.json"), str(folder)],
    ]
    cfg = config(DATA__REGISTER=entries, MODEL__META_ARCHITECTURE="CellTracker")
    evaluator = OpenWorldTrainer.build_evaluator(cfg, "own_val")
    assert type(evaluator).__name__ == "ClassAgnosticCOCOEvaluator"
    truth = evaluator._coco_api.dataset
    assert len(truth["annotations"]) == 9 and {a["category_id"] for a in truth["annotations"]} == {0}
    assert min(a["id"] for a in truth["annotations"]) == 1 and truth["info"] == {}


def test_what_a_dataset_holds_is_logged_before_training(config, caplog):
    cfg = config()
    with caplog.at_level(logging.INFO):
        check_test_datasets(cfg)
    assert_says(caplog.text, "own_val", "6 images", "2 videos", "3 objects", "9 labels")
    assert_says(caplog.text, "known: 2 objects", "unknown: 1 objects", "camel")


def test_settings_of_evaluation_are_checked_before_training(config):
    for options, data in (
        ({"TEST__TAO_OW__SUBSETS": ["novel"]}, ["novel"]),
        ({"TEST__TAO_OW__MAX_DETECTIONS": -1}, ["max_detections", -1]),
        ({"TEST__TAO_OW__WORKERS": -1}, ["workers", -1]),
        ({"TEST__FRAMES_PER_BATCH": 0}, ["TEST.FRAMES_PER_BATCH", 0]),
        ({"TEST__PRECISION": "float8"}, ["TEST.PRECISION", "float8"]),
        ({"DATA__CLASSES": [], "DATA__DISTRACTORS": ["dog"]}, ["DATA.DISTRACTORS"]),
        ({"DATA__CLASSES": []}, ["tao.json", "DATA.CLASSES", "camel, car, dog"]),
    ):
        with raises(ValueError, *data):
            check_test_datasets(config(**options))


def test_faults_of_test_data_are_found_before_the_model_is_built(config, folder, monkeypatch):
    document = own_data.tao()
    document["annotations"][4]["bbox"] = [9, 9, -1, 4]
    (folder / "bad.json").write_text(json.dumps(document))
    monkeypatch.setattr(dummy_model.DummyModel, "built", 0)
    cfg = config(
        DATA__REGISTER=[
            ["own_train", str(folder / "coco.json"), str(folder)],
            ["own_val", str(folder / "bad.json"), str(folder)],
        ]
    )
    with raises(ValueError, "own_val", "bad.json", "a/img1/000002.png", "-1.0"):
        OpenWorldTrainer(cfg)
    assert dummy_model.DummyModel.built == 0


def test_no_group_needs_no_classes_when_all_is_asked(config):
    check_test_datasets(config(DATA__CLASSES=[], TEST__TAO_OW__SUBSETS=["all"]))


def test_entries_of_the_exclusion_list_that_match_nothing(config, tmp_path, caplog):
    (tmp_path / "list.txt").write_text("b\nclip_7\n")
    cfg = config(DATA__EXCLUSION_LIST=str(tmp_path / "list.txt"))
    check_test_datasets(cfg)
    assert_says(caplog.text, "1 of 2", "clip_7", "DATA.EXCLUSION_LIST")
    with raises(ValueError, "own_train", "b"):
        load_training_records(cfg)


def run(folder, tmp_path, *options, file="coco.json", processes=2):
    dummy_config = dummy_model.config(tmp_path / "output", SOLVER__MAX_ITER=2, DATALOADER__NUM_WORKERS=1)
    dummy_config.DATASETS.TEST = ()
    (tmp_path / "config.yaml").write_text(dummy_config.dump())
    return [
        SCRIPT,
        *("--config-file", tmp_path / "config.yaml", "--num-gpus", processes),
        *("--register", "own_one", folder / "tao.json", folder, "tao"),
        *("--register", "own_train", folder / file, folder),
        *("DATASETS.TRAIN", "('own_train',)", "DATASETS.TEST", "('own_one',)", "DATA.CLASSES", "['dog']"),
        *options,
    ]


@pytest.mark.slow
def test_two_processes_know_the_datasets_of_the_command_line(folder, tmp_path):
    output = run_python(*run(folder, tmp_path), env=environment(tmp_path / "shapes"))
    assert_says(output, "own_train", "known: 1 objects", "unknown: 2 objects")
    metrics = [json.loads(line) for line in (tmp_path / "output" / "metrics.json").read_text().splitlines()]
    assert any("tao_ow/OWTA-unknown" in line for line in metrics)
    # the checks ran once
    assert output.count("labels of the training datasets") == 1


def assert_one_line(folder, tmp_path, processes, file, *data, options=()):
    """The run fails, its error is one line that holds the data, and no traceback is printed."""
    command = [sys.executable, *map(str, run(folder, tmp_path, *options, file=file, processes=processes))]
    done = subprocess.run(
        command, env=environment(tmp_path / "shapes"), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train_net.py: error: ")
    assert_says(last, *data)


@pytest.fixture(scope="module")
def gone(folder):
    """An annotation file with an image that is missing."""
    document = own_data.coco()
    document["images"][0]["file_name"] = "a/img1/gone.png"
    (folder / "gone.json").write_text(json.dumps(document))
    return "gone.json"


def test_missing_images_are_one_line(folder, tmp_path, gone):
    assert_one_line(folder, tmp_path, 1, gone, "own_train", "1 of 6", "a/img1")


@pytest.mark.slow
def test_two_processes_end_with_one_error(folder, tmp_path, gone):
    assert_one_line(folder, tmp_path, 2, gone, "own_train", "1 of 6", "a/img1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, options, data",
    [
        ("nothing.json", (), ("own_train", "nothing.json")),
        ("coco.json", ("MODEL.WEIGHTS", "nothing.pth"), ("nothing.pth",)),
        ("coco.json", ("DATA.CLASSES", "['zebra']"), ("own_train", "zebra", "camel")),
    ],
)
def test_files_that_a_run_cannot_use_are_one_line(folder, tmp_path, file, options, data):
    assert_one_line(folder, tmp_path, 1, file, *data, options=options)
