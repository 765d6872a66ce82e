"""docs/own_data.md: its commands run one after the other on a small dataset, as they are but for their size."""

import json
import re
import shlex

import pytest
import yaml
from helpers import ROOT, own_data
from helpers.messages import assert_says
from helpers.processes import run_python

PAGE = (ROOT / "docs" / "own_data.md").read_text(encoding="utf-8")
# the shipped model on frames of this size, one step
SMALL = {
    "train_net.py": ["SOLVER.MAX_ITER", "1", "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64"],
    "demo/demo.py": ["INPUT.MIN_SIZE_TEST", "64"],
}


def blocks(language):
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, flags=re.S | re.M)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def commands():
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``data/``: frames, labels of a format of their own for training, videos for evaluation."""
    folder = tmp_path_factory.mktemp("page")
    own_data.write_images(folder / "data" / "images")
    names = {category["id"]: category["name"] for category in own_data.CATEGORIES}
    rows = []
    for video in own_data.VIDEOS:
        for frame in range(own_data.FRAMES):
            here = [(own_data.box(t, frame), names[c]) for t, (v, c, _) in own_data.TRACKS.items() if v == video]
            rows.append(
                {
                    "file": own_data.file_name(video, frame),
                    "size": [own_data.WIDTH, own_data.HEIGHT],
                    "boxes": [[x, y, x + w, y + h] for (x, y, w, h), _ in here],
                    "names": [name for _, name in here],
                }
            )
    (folder / "data" / "labels.json").write_text(json.dumps(rows))
    (folder / "data" / "val.json").write_text(json.dumps(own_data.tao()))
    return folder


@pytest.mark.slow
def test_the_walk(folder):
    snippet, _ = blocks("python")
    run_python("-c", snippet, cwd=folder)
    converted = json.loads((folder / "data" / "train.json").read_text())
    assert len(converted["images"]) == 6 and len(converted["annotations"]) == 9
    outputs = []
    for program, script, *options in commands():
        assert program == "python" and (ROOT / script).is_file()
        outputs.append(run_python(ROOT / script, *options, *SMALL.get(script, []), cwd=folder))
    check, before, train, score, track, last = outputs
    assert_says(check, "coco", "tao", "known: 2 objects", "unknown: 1 objects")
    assert_says(before, "my_val", "OWTA")
    assert_says(train, "my_train", "trained on", "known: 2 objects")
    for table in (score, last):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
        assert [row[:2] for row in rows[2:]] == [["all", "3"], ["known", "2"], ["unknown", "1"]]
    assert (folder / "output" / "mot" / "a.txt").is_file()


@pytest.mark.slow
def test_the_export(tmp_path):
    _, snippet = blocks("python")
    run_python("-c", snippet, cwd=tmp_path)
    assert (tmp_path / "backbone.pt2").is_file()


def test_the_config(folder, monkeypatch):
    from detectron2.data import DatasetCatalog

    from effowt_d2.engine import make_config

    (text,) = blocks("yaml")
    assert yaml.safe_load(text)["DATA"]["CLASSES"] == ["dog", "car"]
    (folder / "page.yaml").write_text(text)
    monkeypatch.chdir(folder)
    with own_data.forgotten("my_train", "my_val"):
        make_config("page.yaml")
        assert len(DatasetCatalog.get("my_val")) == 6


@pytest.mark.parametrize("name", ["coco", "tao", "coco_vid", "youtube_vis", "burst", "mot"])
def test_every_format_has_a_row(name):
    from effowt_d2.formats import FORMATS

    assert f"\n| `{name}` |" in PAGE and name in FORMATS and len(FORMATS) == 6
