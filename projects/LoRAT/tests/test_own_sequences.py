"""Fine-tuning on one's own sequences by config alone, as the README of SOT describes it, in both layouts."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from sot.data.made_clips import WRITERS, make_clips

import train_net

CONFIG = """
_BASE_: "{folder}/config.yaml"
DATA:
  REGISTER:
    - ["mine_train", "{data}/train.txt", "{data}", "{layout}"]
    - ["mine_val", "{data}/val.txt", "{data}", "{layout}"]
DATASETS:
  TRAIN: ("mine_train",)
  TEST: ("mine_val",)
MODEL:
  WEIGHTS: "{folder}/model.pth"
SOLVER:
  MAX_ITER: 2
  WARMUP_ITERS: 1
  BASE_LR: 0.0003
OUTPUT_DIR: "{output}"
"""


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["train_net.py", *map(str, arguments)])
    try:
        train_net.run()
    finally:
        for name in ("mine_train", "mine_val"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.mark.parametrize("layout", ["got10k", pytest.param("lasot", marks=pytest.mark.slow)])
def test_train_and_evaluate(layout, trained, tmp_path, monkeypatch):
    data, output = tmp_path / "data", tmp_path / "out"
    WRITERS.get(layout)(data, make_clips(3, frames=6))
    (data / "train.txt").write_text("rectangle-1\nrectangle-2\n")
    (data / "val.txt").write_text("rectangle-3\n")
    text = CONFIG.format(folder=trained, data=data, layout=layout, output=output)
    (tmp_path / "mine.yaml").write_text(text)
    run(monkeypatch, "--config-file", tmp_path / "mine.yaml")
    scores = output / "inference" / "mine_val" / "one_pass.json"
    first = json.loads(scores.read_text())
    assert list(first["sequences"]) == ["rectangle-3"] and (scores.parent / "success.png").is_file()
    scores.unlink()
    weights = output / "model_final.pth"
    run(monkeypatch, "--config-file", tmp_path / "mine.yaml", "--eval-only", "MODEL.WEIGHTS", weights)
    assert json.loads(scores.read_text()) == first
