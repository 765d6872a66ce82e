"""Every experiment in the table of docs/experiments.md is one command that builds a model."""

import re
import shlex

import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from helpers import ROOT

from effowt_d2.engine import make_config
from effowt_d2.modeling.side.topology import TOPOLOGIES

PAGE = (ROOT / "docs" / "experiments.md").read_text()
ROWS = [row.split("|") for row in PAGE.splitlines() if re.match(r"\| \d+ \|", row)]
CONFIGS = {
    "": "configs/quick/shapes_ow_effowt.yaml",
    "¹": "projects/EffOWTAblations/configs/shapes_ow_ablations.yaml",
}


def commands():
    """The mark and the keys of each; a value alone stands for the last of the keys before it."""
    for row in ROWS:
        keys = []
        for text, mark in re.findall(r"`([^`]+)`(¹?)", row[3]):
            words = shlex.split(text)
            if re.match(r"[A-Z][A-Z_]*\.", words[0]):
                keys = words
            elif text.endswith(".yaml") or text.startswith("_"):
                continue
            else:
                keys = [*keys[:-1], *words]
            yield pytest.param(mark, keys, id=" ".join(keys))


def test_all_rows_are_read():
    numbers = [int(row[1]) for row in ROWS]
    assert numbers == list(range(1, 12)) and len(list(commands())) > 45


def origins(model):
    """The packages that the parts of a model are from."""
    strategy = model.backbone.strategy
    parts = [*map(type, model.modules())]
    if hasattr(strategy, "init"):
        parts += [type(strategy.init), TOPOLOGIES.get(strategy.side.layout.topology)]
    return {part.__module__.split(".")[0] for part in parts}


@pytest.mark.parametrize("mark, keys", commands())
def test_it_is_one_command(mark, keys):
    cfg = make_config(CONFIGS[mark], keys)
    assert set(cfg.DATASETS.TRAIN) | set(cfg.DATASETS.TEST) <= set(DatasetCatalog.list())
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    assert ("effowt_ablations" in origins(model)) == bool(mark)
