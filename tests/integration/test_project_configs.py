"""Every config of every project loads, and loads again from what a run writes of it."""

import json

import pytest
from helpers import ROOT

from effowt_d2.engine import make_config

CONFIGS = sorted((ROOT / "projects").glob("*/configs/**/*.yaml"))


def test_there_are_some():
    assert CONFIGS


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_it_loads(file, tmp_path):
    cfg = make_config(str(file))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    # as text, in which a tuple is a list
    assert json.dumps(make_config(str(tmp_path / "config.yaml"))) == json.dumps(cfg)
