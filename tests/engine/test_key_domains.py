"""Every key has a domain, which is checked when the config is made."""

import math

import pytest
from detectron2.config import get_cfg
from helpers import ROOT, dummy_model
from helpers.messages import raises

from effowt_d2 import add_effowt_config
from effowt_d2.engine import OpenWorldTrainer, make_config
from effowt_d2.engine.configs import merge_options
from effowt_d2.engine.key_domains import DOMAINS, register_domains
from effowt_d2.engine.settings import check_settings, leaves
from effowt_d2.utils.domains import Integer

PROJECTS = {path.parent.parent.name: path.parent.name for path in ROOT.glob("projects/*/*/__init__.py")}


def own_config():
    cfg = get_cfg()
    add_effowt_config(cfg)
    return cfg


DETECTRON2 = dict(leaves(get_cfg()))
OWN = [key for key, _ in leaves(own_config()) if key not in DETECTRON2]


def with_value(key, value):
    cfg = own_config()
    node = cfg
    *parts, name = key.split(".")
    for part in parts:
        node = node[part]
    node[name] = value
    return cfg


def test_every_key_has_a_domain_and_every_domain_a_key():
    assert len(OWN) > 90
    assert [key for key in OWN if key not in DOMAINS] == []
    known = {*OWN, *DETECTRON2}
    assert [key for key in DOMAINS if key not in known and not of_a_project(key)] == []


def of_a_project(key):
    # tests of the projects may have run in this process
    return any(key in path.read_text() for path in ROOT.glob("projects/*/*/config.py"))


def test_projects_bring_domains_of_their_keys(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "projects" / "EffOWTAblations")
    cfg = make_config("", ["IMPORTS", ("effowt_ablations",)])
    new = [key for key, _ in leaves(cfg) if key not in DETECTRON2 and key not in OWN]
    assert new and [key for key in new if key not in DOMAINS] == []
    with raises(ValueError, "MODEL.SIDE.SEED", "-1"):
        merge_options(cfg, ["MODEL.SIDE.SEED", "-1"])


def test_the_defaults_are_inside():
    check_settings(own_config())


@pytest.mark.parametrize("key", [*OWN, *(key for key in DETECTRON2 if key in DOMAINS)])
def test_every_key_refuses_what_it_cannot_be(key):
    default = dict(leaves(own_config()))[key]
    for value in (None, math.nan, math.inf, -math.inf, -1e9, -(10**9), object(), [math.nan], [None], {"a": 1}):
        if value is None and DOMAINS[key].holds(None):
            assert default is None
            continue
        with raises(ValueError, key, repr(value)):
            check_settings(with_value(key, value))


@pytest.mark.parametrize(
    "key", [key for key, value in DETECTRON2.items() if key not in DOMAINS and isinstance(value, (int, float))]
)
def test_other_numbers_of_detectron2_are_finite_and_not_none(key):
    for value in (None, math.nan, math.inf):
        with raises(ValueError, key, value):
            check_settings(with_value(key, value))


@pytest.mark.parametrize(
    "key, value, data",
    [
        ("SOLVER.MAX_ITER", "None", ["None"]),
        ("SOLVER.BASE_LR", "-0.1", ["-0.1"]),
        ("SOLVER.ACCUMULATE", "0", ["0", "1"]),
        ("TRACKER.MATCH_SCORE", "nan", ["nan", "[0, 1]"]),
        ("MODEL.TRANSFER.STRATEGY", "sides", ["sides", "zero_shot"]),
        ("MODEL.SIDE.TOPOLOGY", "ladder", ["ladder", "sequential"]),
        ("TEST.TAO_OW.SUBSETS", "['novel']", ["novel", "unknown"]),
        ("DATA.CLASSES", "[1.5]", ["1.5"]),
        ("DATA.REGISTER", "[['a', 'b']]", ["a", "b"]),
    ],
)
def test_the_command_line_is_checked(key, value, data):
    with raises(ValueError, key, *data):
        make_config("", [key, value])


def test_a_file_is_checked_and_a_trainer_checks_what_was_made_without_files(tmp_path):
    (tmp_path / "bad.yaml").write_text("SOLVER: {GAMMA: .nan}\n")
    with raises(ValueError, "SOLVER.GAMMA", "nan"):
        make_config(str(tmp_path / "bad.yaml"))
    with raises(ValueError, "SOLVER.EMA.DECAY", 1.5):
        OpenWorldTrainer(dummy_model.config(tmp_path, SOLVER__EMA__DECAY=1.5))


def test_a_domain_is_given_once():
    with raises(ValueError, "SOLVER.ACCUMULATE"):
        register_domains({"SOLVER.ACCUMULATE": Integer(5)})
