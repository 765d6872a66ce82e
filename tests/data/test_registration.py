"""Datasets of one's own by config and command line."""

import argparse
import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers import own_data
from helpers.messages import raises

from effowt_d2.data.datasets.registration import add_register_option, register_datasets, take_registrations
from effowt_d2.engine import make_config


@pytest.fixture
def files(tmp_path):
    own_data.write_images(tmp_path)
    (tmp_path / "data.json").write_text(json.dumps(own_data.coco()))
    with own_data.forgotten("own_one", "own_two"):
        yield str(tmp_path / "data.json"), str(tmp_path)


def entry(*parts):
    return ["DATA.REGISTER", str([list(parts)])]


@pytest.mark.parametrize("format, kind", [("", "auto"), ("coco", "coco")])
def test_a_config_registers(files, format, kind):
    cfg = make_config("", entry("own_one", *files, *([format] if format else [])))
    records = DatasetCatalog.get("own_one")
    assert len(records) == 6 and records[0]["file_name"].startswith(files[1])
    metadata = MetadataCatalog.get("own_one")
    assert (metadata.json_file, metadata.image_root, metadata.evaluator_type) == (*files, kind)
    # in another process, or once more, the same
    register_datasets(cfg)
    with own_data.forgotten("own_one"):
        pass
    register_datasets(cfg)
    assert len(DatasetCatalog.get("own_one")) == 6


def test_a_file_of_yaml_registers(files, tmp_path):
    (tmp_path / "c.yaml").write_text(f"DATA:\n  REGISTER:\n    - [own_one, {files[0]}, {files[1]}]\n")
    make_config(str(tmp_path / "c.yaml"))
    assert len(DatasetCatalog.get("own_one")) == 6


@pytest.mark.parametrize(
    "wrong, data",
    [
        ([["own_one", "a.json"]], ["DATA.REGISTER", "a.json"]),
        ([["own_one", "a.json", "b", "voc"]], ["DATA.REGISTER[0]", "voc", "youtube_vis"]),
        ([["own_one", "a.json", "b", "coco", "c"]], ["DATA.REGISTER", "coco"]),
        ([["own_one", "", "b"]], ["DATA.REGISTER[0]"]),
        (["own_one"], ["DATA.REGISTER", "own_one"]),
        ([["own_one", "a.json", 3]], ["DATA.REGISTER", 3]),
        ([["own_one", "a.json", "b"], ["own_one", "other.json", "b"]], ["DATA.REGISTER[1]", "own_one", "a.json"]),
        ([["coco_2017_train", "a.json", "b"]], ["DATA.REGISTER[0]", "coco_2017_train"]),
    ],
)
def test_entries_that_cannot_be(files, wrong, data):
    with raises(ValueError, *data):
        make_config("", ["DATA.REGISTER", str(wrong)])


def parse(*line):
    parser = argparse.ArgumentParser()
    add_register_option(parser)
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[])
    args = parser.parse_args(line)
    return take_registrations(args), args.opts


def test_the_command_line():
    assert parse() == ([], []) == parse()
    assert parse("--register", "a", "b", "c") == ([["a", "b", "c", ""]], [])
    assert parse("--register", "a", "b", "c", "mot", "KEY", "1") == ([["a", "b", "c", "mot"]], ["KEY", "1"])
    assert parse("--register", "a", "b", "c", "KEY", "1") == ([["a", "b", "c", ""]], ["KEY", "1"])
    both = parse("--register", "a", "b", "c", "--register", "d", "e", "f", "tao", "--flag", "KEY", "1")
    assert both == ([["a", "b", "c", ""], ["d", "e", "f", "tao"]], ["KEY", "1"])
    with raises(ValueError, "--register", "a b", "annotation file"):
        parse("--register", "a", "b")
    with raises(ValueError, "--register", "KEY", "youtube_vis"):
        parse("--register", "a", "b", "c", "KEY", "--register", "d", "e", "f")
    # of a project, or unknown: decided when the config's IMPORTS are there
    assert parse("--register", "a", "b", "c", "got10k") == ([["a", "b", "c", "got10k"]], [])


def test_missing_files_are_named(files):
    make_config("", ["DATA.REGISTER", str([["own_one", "gone.json", files[1]], ["own_two", files[0], "gone"]])])
    for name, file in (("own_one", "gone.json"), ("own_two", "gone")):
        with raises(FileNotFoundError, name, file):
            DatasetCatalog.get(name)
