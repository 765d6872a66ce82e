"""tools/benchmark.py: three strategies, consistent bytes, and mistakes told in one line."""

import datetime
import json
import sys

import benchmark  # noqa: E402
import pytest
import torch

from effowt_d2 import model_zoo
from effowt_d2.analysis import count_parameters


def run(monkeypatch, *arguments):
    file = model_zoo.get_config_file("quick/shapes_ow_effowt.yaml")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--config-file", file, *map(str, arguments)])
    return benchmark.main()


def test_figures_fit_together(monkeypatch, tmp_path, capsys):
    out = tmp_path / "b.json"
    assert run(monkeypatch, "--size", 64, 64, "--runs", 1, "--device", "cpu", "--json", out) == 0
    report = json.loads(out.read_text())
    figures, ratios, facts = (report[key] for key in ("figures", "ratios to full", "about"))
    for f in figures.values():
        assert f["memory"]["gradients"] == 4 * f["trained parameters"] == f["memory"]["optimizer"] / 2
        assert sum(f["saved"].values()) == f["memory"]["saved by backbone"] + f["memory"]["saved by heads"] > 0
        assert f["step seconds"] > 0 and f["inference seconds"] > 0
    assert figures["full"]["saved"]["tower"] > 0
    assert not figures["side"]["saved"].get("tower") and not figures["zero_shot"]["saved"].get("tower")
    assert figures["full"]["trained parameters"] > figures["zero_shot"]["trained parameters"]
    # weights, gradients and graph were in memory, and torch itself besides
    assert all(f["resident peak"] > sum(f["memory"].values()) for f in figures.values())
    totals = {name: sum(f["memory"].values()) for name, f in figures.items()}
    assert ratios["side"]["total GiB"] == pytest.approx(totals["side"] / totals["full"])
    assert ratios["side"]["step s"] == pytest.approx(figures["side"]["step seconds"] / figures["full"]["step seconds"])
    assert set(ratios["full"].values()) == {1.0}
    assert facts["cpu"] and facts["torch"] == str(torch.__version__) and facts["gpu"] is None
    assert datetime.date.fromisoformat(facts["date"]) and facts["size"] == [64, 64]
    printed = capsys.readouterr().out
    assert "(1.00)" in printed and "side network's inference over zero_shot's" in printed


def test_one_strategy_in_half_precision_without_ratios(monkeypatch, tmp_path, capsys):
    out, keys = tmp_path / "b.json", ("MODEL.VLM.PRECISION", "bfloat16", "TEST.PRECISION", "bfloat16")
    size = ("--size", 64, 64, "--views", 1, "--runs", 1, "--device", "cpu")
    assert run(monkeypatch, "--strategies", "side", *size, "--json", out, "--opts", *keys) == 0
    report = json.loads(out.read_text())
    assert list(report["figures"]) == ["side"] and report["ratios to full"] == {}
    assert "(1.00)" not in capsys.readouterr().out
    model = benchmark.build(model_zoo.get_config("quick/shapes_ow_effowt.yaml"), "side", "cpu")
    counts = count_parameters(model)
    frozen, total = counts["tower"].total, sum(count.total for count in counts.values())
    assert report["figures"]["side"]["memory"]["weights"] == 4 * total - 2 * frozen


def test_a_wrong_key_is_told(monkeypatch):
    with pytest.raises(SystemExit, match="benchmark.py: error: .*NO.SUCH"):
        run(monkeypatch, "--opts", "NO.SUCH", 1)
