"""The results page: worked numbers, verdicts that follow from them, and the page of the repository rebuilt."""

import json
import math
import re

import make_results
import pytest
from experiments.plan import Claim
from experiments.plan_file import load_plan
from experiments.report import make_page
from experiments.sentences import ablations_sentence, claim_verdict, curves_sentence, memory_sentence, paired, verdict
from experiments.summary import Difference, Summary
from experiments.table import RUN_COLUMNS, SCORES, open_curves, open_runs
from helpers import ROOT
from helpers.messages import raises

PLAN = """
config: some.yaml
keys: {STEPS: 150}
groups:
  rates: {seeds: [1], variants: {side: {search: [{RATE: 1}, {RATE: 2}]}}}
  strategy:
    base: strategy/side
    seeds: [1, 2, 3]
    variants: {side: {rate_of: rates/side}, full: {keys: {FULL: true}}, zero_shot: }
    claims: [{says: side beats full, higher: strategy/side, lower: strategy/full}]
  width: {base: strategy/side, rate_of: rates/side, variants: {"2": {keys: {R: 2}}}}
  preset: {of: strategy/side, base: strategy/side, variants: {owtb: {keys: {T: owtb}}}}
"""
KEYS = {
    "strategy/side": {"STEPS": 150, "RATE": 2}, "strategy/full": {"STEPS": 150, "FULL": True},
    "strategy/zero_shot": {"STEPS": 150}, "width/2": {"STEPS": 150, "RATE": 2, "R": 2},
    "preset/owtb": {"STEPS": 150, "RATE": 2, "T": "owtb"},
}  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    return load_plan(tmp_path / "plan.yaml")


def row(path, seed, unknown, *, known=50.0, mib=100.0, **changes):
    group, name = path.split("/")
    scores = {name: known if name.endswith("-known") else unknown for name in SCORES}
    return {
        "group": group, "name": name, "seed": seed, "digest": name, "status": "done", "config": "some.yaml",
        "keys": json.dumps(KEYS[path]), "revision": "aaaaaaa", "started": "2026-01-01T00:00:00Z", "steps": 150,
        "training_mib": mib, "trained_parameters": 7, **scores, **changes,
    }  # fmt: skip


def summary_of(plan, tmp_path, rows, curves=()):
    file = tmp_path / "runs.csv"
    open_runs(file).put(rows)
    open_curves(file).put(curves)
    return Summary(plan, open_runs(file).rows, open_curves(file).rows)


def strategy_rows(side, full):
    rows = [row("strategy/side", seed, score) for seed, score in enumerate(side, start=1)]
    return rows + [row("strategy/full", seed, score, mib=200.0) for seed, score in enumerate(full, start=1)]


def test_means_spreads_and_paired_differences_by_hand(plan, tmp_path):
    summary = summary_of(plan, tmp_path, strategy_rows([41, 43, 48], [40, 41, 45]))
    side = summary.spread("strategy/side", "OWTA-unknown")
    assert (side.mean, side.n) == (44, 3) and side.sd == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    difference = summary.difference("strategy/side", "strategy/full", "OWTA-unknown")
    assert difference.values == (1, 2, 3) and (difference.mean, difference.sd) == (2, 1)
    # t of 2 degrees of freedom at 97.5 % is 4.303
    assert difference.interval == pytest.approx(4.30265 / math.sqrt(3), abs=1e-4)
    assert difference.seen and not difference.clear


def test_pairs_are_of_one_seed(plan, tmp_path):
    rows = strategy_rows([41, 43, 48], [40])
    rows[3]["seed"] = 2
    summary = summary_of(plan, tmp_path, rows)
    assert summary.difference("strategy/side", "strategy/full", "OWTA-unknown").values == (3,)
    assert summary.difference("strategy/side", "strategy/zero_shot", "OWTA-unknown") is None


@pytest.mark.parametrize("values, result, cell", [
    ((1, -1.5), "no difference", "-0.2 ±1.8 (2)"),
    ((0.01, -0.02), "no difference", "0.0 ±0.0 (2)"),
    ((9,), "one seed", "+9.0 (1)"),
    ((1, 2, 3), "hint: holds", "+2.0 ±1.0 (3)"),
    ((-5, -6, -5.5), "does not hold", "-5.5 ±0.5 (3)"),
    (None, "not run", "no common seed"),
])  # fmt: skip
def test_words_follow_from_the_numbers(values, result, cell):
    difference = Difference(values) if values else None
    assert (verdict(difference), paired(difference)) == (result, cell)


@pytest.mark.parametrize("full, equal, expected", [
    ((30, 30.5, 31), False, "holds"),
    ((39, 39, 41), False, "hint: holds"),
    ((41, 39, 40), False, "no difference"),
    ((41.2, 42.2, 44), False, "hint: does not hold"),
    ((50, 50.5, 51), False, "does not hold"),
    ((41, 39, 40), True, "no difference"),
    ((30, 30.5, 31), True, "does not hold"),
    ((30,), False, "one seed"),
    ((), False, "not run"),
])  # fmt: skip
def test_verdicts_on_a_claim(plan, tmp_path, full, equal, expected):
    summary = summary_of(plan, tmp_path, strategy_rows([40, 40, 41], full))
    claim = Claim("side beats full", "strategy/side", "strategy/full", equal)
    assert claim_verdict(summary, claim)[0] == expected
    if not equal:
        assert f"| side beats full | **{expected}** |" in re.sub(" +", " ", make_page(summary))


def test_sentences_of_the_figures(plan, tmp_path):
    rows = strategy_rows([41, 43, 48], [30, 32, 36]) + [row("width/2", 1, 41.5), row("width/2", 2, 42.5)]
    points = [
        {**{key: rows[0][key] for key in ("group", "name", "seed", "digest")}, "step": step, **scores}
        for step, scores in ((50, dict.fromkeys(SCORES, 20.0)), (150, {name: rows[0][name] for name in SCORES}))
    ]
    summary = summary_of(plan, tmp_path, rows, points)
    groups = {group.name: group for group in plan.groups}
    assert curves_sentence(summary, groups["strategy"]) == (
        "OWTA gained from step 50 to 150, known / unknown: strategy/side +30.0 / +21.0 (n = 1)."
    )
    assert memory_sentence(summary) == "Training memory: side 100 MiB, full 200 MiB (-50 %)."
    assert ablations_sentence(summary, [groups["width"], groups["preset"]]) == (
        "Unknown OWTA against the base: 0 of 1 differ; 0 hints; 1 without a difference."
    )


def test_rows_of_other_revisions_are_named_and_rows_of_other_plans_omitted(plan, tmp_path):
    rows = strategy_rows([41, 43, 48], [40, 41, 45])
    rows[1]["revision"] = "bbbbbbb"
    rows.append(row("strategy/side", 1, 99.0, digest="old", started="2027", keys=json.dumps({"STEPS": 20})))
    earlier = {"digest": "older", "keys": json.dumps({"STEPS": 150, "RATE": 1}), "started": "2025"}
    rows.append(row("strategy/side", 2, 98.0, **earlier))
    rows.append(row("strategy/zero_shot", 1, 97.0, status="failed", error="ValueError: no"))
    rows.append({**row("strategy/full", 1, 96.0), "group": "gone"})
    page = re.sub(" +", " ", make_page(summary_of(plan, tmp_path, rows)))
    assert "**Revisions differ**" in page and "aaaaaaa (5 runs), bbbbbbb (1 run)." in page
    assert "| strategy/side | 3 | 44.0 ±3.6 |" in page and "Not run: strategy/zero_shot." in page
    ending = page[page.index("## Runs left out") :]
    assert "- strategy/zero_shot, seed 1: failed: ValueError: no" in ending
    assert ending.count("another plan") == 3 and "- gone/full, seed 1" in ending
    assert not any(f"{score}.0" in page for score in (96, 97, 98, 99))


def test_the_page_of_the_repository_is_that_of_its_table():
    table = ROOT / "docs/results/runs.csv"
    summary = Summary(load_plan(ROOT / "configs/experiments.yaml"), open_runs(table).rows, open_curves(table).rows)
    assert (ROOT / "docs/results.md").read_text() == make_page(summary), "run `make results`"
    for figure in re.findall(r"\]\((results/.+?)\)", make_page(summary)):
        assert (ROOT / "docs" / figure).is_file() or not table.exists(), figure


def test_the_tool_writes_the_same_page_and_figures_every_time(tmp_path, plan):
    rows = strategy_rows([41, 43, 48], [30, 32, 36])
    rows += [row("width/2", 1, 41.5), row("preset/owtb", 1, 3.0, training_mib="")]
    summary_of(plan, tmp_path, rows)
    made = []
    for _ in range(2):
        arguments = ["--plan", tmp_path / "plan.yaml", "--csv", tmp_path / "runs.csv", "--out", tmp_path / "page.md"]
        assert make_results.main(list(map(str, arguments))) == 0
        made.append({file.name: file.read_bytes() for file in (*tmp_path.glob("*.svg"), tmp_path / "page.md")})
    assert made[0] == made[1] and set(made[0]) == {"memory.svg", "ablations.svg", "page.md"}
    assert b"width/2" in made[0]["ablations.svg"] and b"preset/owtb" in made[0]["ablations.svg"]


def test_the_tool_reports_faults(tmp_path):
    with raises(SystemExit, "make_results.py", "no.yaml"):
        make_results.main(["--plan", "no.yaml"])
    (tmp_path / "runs.csv").write_text(",".join(RUN_COLUMNS) + "\nside,1\n")
    with raises(SystemExit, "runs.csv", "row 2"):
        make_results.main(["--csv", str(tmp_path / "runs.csv")])
