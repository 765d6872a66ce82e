"""tools/analyze_model.py: figures of full-size models without their weights."""

import json
import resource

import analyze_model
import pytest
from helpers.messages import assert_says
from helpers.tiny_zoo import TINY, zoo_file

from effowt_d2.engine import make_config

# the specification's budget: tower, side network
REFERENCE = {
    "vit_b16": (86_192_640, 1_034_732),
    "eva02_b16": (86_263_040, 1_034_732),
    "vit_l14": (303_966_208, 3_837_103),
    "eva02_l14": (304_105_152, 3_837_103),
    "vit_h14": (632_076_800, 7_012_335),
    "eva01_g14": (1_012_588_928, 10_537_297),
}


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_totals_without_allocating_the_model(name, tmp_path):
    before = peak_memory()
    assert analyze_model.main(["--config-file", zoo_file(name), "--json", str(tmp_path / "out.json")]) == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    tower, side = REFERENCE[name]
    parts = figures["parameters"]
    assert parts["tower"] == {"frozen": tower, "trained": 0}
    found = sum(part["trained"] for key, part in parts.items() if key.startswith("side: "))
    assert found == side
    heads = sum(parts[key]["trained"] for key in ("RPN", "cascade heads", "ReID"))
    assert round(heads / 1e6, 2) == pytest.approx(62.29, abs=0.015)
    assert figures["ratios"] == pytest.approx(
        {
            "side/tower": side / tower,
            "side/full model": side / (tower + side + heads),
            "trained/total": (side + heads) / (tower + side + heads),
        }
    )
    # the weights of the smallest tower alone would take 345 MB
    assert peak_memory() - before < 200e6


def test_flops_of_a_full_size_tower_without_allocating_it():
    before = peak_memory()
    figures = analyze_model.analyze(make_config(zoo_file("vit_l14")), size=(1024, 1024), flops=True, memory=False)
    # every token through 24 blocks of 12 d^2 weights, queries with keys and weights with values, the patches
    tokens, d = 1 + 64 * 64, 1024
    expected = 24 * (tokens * 12 * d * d + 2 * tokens * tokens * d) + (tokens - 1) * d * 3 * 14 * 14
    assert figures["flops"]["parts"]["tower"] == expected
    assert peak_memory() - before < 400e6


@pytest.mark.parametrize("strategy,trained", [("zero_shot", 70.1), ("full", 374.1)])
def test_other_strategies_on_vit_l14(strategy, trained):
    figures = analyze_model.analyze(
        make_config(zoo_file(f"vit_l14_{strategy}")), size=(1024, 1024), flops=False, memory=False
    )
    total = sum(part["trained"] + part["frozen"] for part in figures["parameters"].values())
    # the specification counts the tower's unused last projection as trained
    unused = 1024 * 768 + 2 * 1024 if strategy == "full" else 0
    found = figures["ratios"]["trained/total"] * total + unused
    assert found / 1e6 == pytest.approx(trained, abs=0.06)
    assert figures["ratios"]["side/tower"] is None
    assert "neck" in figures["parameters"]


def test_tables_and_errors(capsys, tmp_path):
    arguments = ["--config-file", zoo_file(), "--flops", "--memory", "--size", "128", "128", "--opts", *TINY]
    assert analyze_model.main(arguments) == 0
    printed = capsys.readouterr().out
    for text in ("side: stage 1/4", "side/tower: ", "side/full model: ", "trained/total: ", "MiB", "G multiply-adds"):
        assert text in printed
    for data, arguments in (
        (["gone.yaml"], ["--config-file", str(tmp_path / "gone.yaml")]),
        (["NO.SUCH"], ["--config-file", zoo_file(), "--opts", "NO.SUCH", "1"]),
        ([100, 128, 64], ["--config-file", zoo_file(), "--flops", "--size", "100", "128"]),
        (["MAX_FRACTION", "0.100%"], ["--config-file", zoo_file(), "--opts", "MODEL.SIDE.MAX_FRACTION", "0.001"]),
    ):
        assert analyze_model.main(arguments) == 2
        assert_says(capsys.readouterr().err, *data)
