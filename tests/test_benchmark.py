"""tools/benchmark.py: three strategies, consistent bytes, and mistakes told in one line."""

import json
import sys
from pathlib import Path

import pytest
from effowt_d2 import model_zoo

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import benchmark  # noqa: E402


def run(monkeypatch, *arguments):
    file = model_zoo.get_config_file("quick/shapes_ow_effowt.yaml")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", "--config-file", file, *map(str, arguments)])
    return benchmark.main()


def test_figures_fit_together(monkeypatch, tmp_path, capsys):
    out = tmp_path / "b.json"
    assert run(monkeypatch, "--size", 64, 64, "--runs", 1, "--device", "cpu", "--json", out) == 0
    figures = json.loads(out.read_text())["figures"]
    for f in figures.values():
        assert f["memory"]["gradients"] == 4 * f["trained parameters"] == f["memory"]["optimizer"] / 2
        assert sum(f["saved"].values()) == f["memory"]["saved by backbone"] + f["memory"]["saved by heads"] > 0
        assert f["step seconds"] > 0 and f["inference seconds"] > 0
    assert figures["full"]["saved"]["tower"] > 0
    assert not figures["side"]["saved"].get("tower") and not figures["zero_shot"]["saved"].get("tower")
    assert figures["full"]["trained parameters"] > figures["zero_shot"]["trained parameters"]
    printed = capsys.readouterr().out
    assert "(1.00)" in printed and "side network's inference over zero_shot's" in printed


def test_a_wrong_key_is_told(monkeypatch):
    with pytest.raises(SystemExit, match="benchmark.py: error: .*NO.SUCH"):
        run(monkeypatch, "--opts", "NO.SUCH", 1)
