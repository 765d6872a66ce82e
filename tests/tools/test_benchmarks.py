"""Every tools/benchmark*.py at a tiny size: what it prints, and that the figures of its JSON fit together."""

import datetime
import importlib
import json
import re

import pytest
import torch
from helpers import ROOT
from helpers.tables import table_rows

QUICK = str(ROOT / "configs/quick/shapes_ow_effowt.yaml")
STRATEGIES = f"--config-file {QUICK} --size 64 64 --runs 1 --device cpu"


def check_strategies(report, printed):
    figures, ratios, facts = (report[key] for key in ("figures", "ratios to full", "about"))
    for f in figures.values():
        assert f["memory"]["gradients"] == 4 * f["trained parameters"] == f["memory"]["optimizer"] / 2
        assert sum(f["saved"].values()) == f["memory"]["saved by backbone"] + f["memory"]["saved by heads"] > 0
        assert f["step seconds"] > 0 and f["inference seconds"] > 0
        # weights, gradients and graph were in memory, and torch itself besides
        assert f["resident peak"] > sum(f["memory"].values())
    assert figures["full"]["saved"]["tower"] > 0
    assert not figures["side"]["saved"].get("tower") and not figures["zero_shot"]["saved"].get("tower")
    assert figures["full"]["trained parameters"] > figures["zero_shot"]["trained parameters"]
    totals = {name: sum(f["memory"].values()) for name, f in figures.items()}
    assert ratios["side"]["total GiB"] == pytest.approx(totals["side"] / totals["full"])
    assert ratios["side"]["step s"] == pytest.approx(figures["side"]["step seconds"] / figures["full"]["step seconds"])
    assert set(ratios["full"].values()) == {1.0}
    assert facts["cpu"] and facts["torch"] == str(torch.__version__) and facts["gpu"] is None
    assert datetime.date.fromisoformat(facts["date"]) and facts["size"] == [64, 64]
    rows = table_rows(printed)
    assert set(rows) == set(figures) and all("(1.00)" in cell for cell in rows["full"])


def check_sim(figures, printed):
    # the MLP keeps its input and two maps of four times its channels
    assert figures["mlp"]["saved_bytes"] == 9 * 24 * 32 * 32 * 4
    assert figures["saved_ratio"] == figures["sim"]["saved_bytes"] / figures["mlp"]["saved_bytes"] <= 0.5
    for f in (figures["mlp"], figures["sim"]):
        assert f["forward"] > 0 and f["backward"] > 0 and f["seconds"] == pytest.approx(f["forward"] + f["backward"])
    assert f"{figures['saved_ratio']:.3f}" in printed


def check_precision(report, printed):
    of = ["all", "tower", "all, tower stored"]
    assert [(row["format"], row["of"]) for row in report["rows"]] == [
        (f, o) for f in ("bfloat16", "float16") for o in of
    ]
    for row in report["rows"]:
        # the same boxes, a little elsewhere
        assert row["boxes"] > 0 and row["missing"] == 0
        assert 0 < row["pixels, median"] <= row["pixels, most"] < 20 and 0 < row["score, most"] < 0.3
    assert set(table_rows(printed)) == {"bfloat16", "float16"}


def check_memory(report, printed):
    frames, resident = zip(*report["curve"])
    assert frames == (3, 5, 10, 12) and min(resident) > 2**26
    assert report["ids"] > 0 and report["seconds"] > report["in the model"] > 0
    assert all(f"{resident[place] / 2**20:.1f} MiB" in printed for place in (0, -1))


def check_tracker(report, printed):
    found = {(u["detections"], u["tracks"]): u for u in report["updates"]}
    assert list(found) == [(3, 5), (3, 30), (40, 5), (40, 30)]
    # known objects are continued, as many as there are of both
    assert {pair: u["continued"] for pair, u in found.items()} == {pair: min(pair) for pair in found}
    assert all(0 < u["ms"] < 10_000 for u in report["updates"])
    rows = table_rows(printed)
    assert rows["40"] == [f"{found[40, tracks]['ms']:.2f} ({min(40, tracks)})" for tracks in (5, 30)]


def check_evaluation(report, printed):
    (pair,) = report["pairs"]
    assert (pair["videos"], pair["boxes a frame"], pair["results"]) == (2, 10, 740)
    assert pair["difference"] == pytest.approx(0, abs=1e-9)
    assert pair["ratio"] == pytest.approx(pair["trackeval s"] / pair["ours s"]) and pair["ours s"] > 0
    assert table_rows(printed)["2"][:2] == ["10", "740"]


@pytest.mark.slow
def test_time_and_memory_of_an_evaluation_and_of_its_workers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("effowt_d2.evaluation.tao_ow.SMALL", 0)
    figures = importlib.import_module("benchmark_evaluation").time_alone(str(tmp_path), 8, 60, workers=2)
    assert figures["results"] == 17760
    # they are watched at intervals: one that ends before the next is not seen
    assert 1 <= figures["workers"] <= 2
    assert figures["ours s"] > 0 and figures["CPU s"] > 0 and figures["workers' CPU s"] > 0
    # torch alone is more than that
    assert all(0.05 < figures[name] < 4 for name in ("peak GiB", "largest worker GiB"))
    assert table_rows(capsys.readouterr().out).keys() >= {"all", "known", "unknown"}


def check_video(report, printed):
    (run,) = report["runs"]
    assert (run["frames"], run["tracked"]) == (12, 4)
    assert 200 < run["peak MiB"] < 4000 and run["seconds"] > 0 and run["frames per second"] > 0
    assert {"decoding", "tower", "side network", "heads"} <= set(run["time"])
    assert re.search(r"\b4 of 12\b", printed) and f"{run['peak MiB']:.1f} MiB" in printed


def check_reading(report, printed):
    (run,) = report["runs"]
    assert run["read"]["frames"] == 36 and run["seek"]["index"] == 12, "12 frames a second, from the first second on"
    assert run["read"]["seconds"] > 0 and run["seek"]["peak MiB"] > 50 and "frame 12" in printed


CASES = {
    "benchmark": (STRATEGIES, check_strategies),
    "benchmark_sim": ("--size 24 32 --channels 32 --repeats 1", check_sim),
    "benchmark_precision": ("--videos 1 --frames 1", check_precision),
    "benchmark_memory": ("--frames 12 --first 3 --every 5 --scene 5 --size 128", check_memory),
    "benchmark_tracker": ("--detections 3 40 --tracks 5 30 --frames 3 --channels 64", check_tracker),
    "benchmark_evaluation": ("--boxes 10 --videos 2 --workers 1", check_evaluation),
    "benchmark_reading": ("--minutes 0.05 --fps 12 --size 64 48", check_reading),
    "benchmark_video": ("--minutes 0.02 --fps 10 --stride 3 --size 96 64 --max-side 64", check_video),
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


SLOW = {"benchmark", "benchmark_precision", "benchmark_reading", "benchmark_video"}
NAMES = sorted(path.stem for path in (ROOT / "tools").glob("**/benchmark*.py"))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in NAMES])
def test_it_reports_what_it_measured(name, tmp_path, capsys, threads):
    options, check = CASES[name]
    out = tmp_path / "out.json"
    assert importlib.import_module(name).main([*options.split(), "--json", str(out)]) == 0
    check(json.loads(out.read_text()), capsys.readouterr().out)
