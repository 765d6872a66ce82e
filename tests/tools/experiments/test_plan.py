"""The plan: what variants become of it, and mistakes in it reported in one line before anything runs."""

import copy

import pytest
import yaml
from experiments.plan import PlanError
from experiments.plan_file import load_plan
from experiments.recipe import check_configs, make_recipe
from experiments.table import open_runs
from helpers import ROOT
from helpers.messages import raises
from helpers.small_plan import PLAN


def load(tmp_path, plan):
    file = tmp_path / "plan.yaml"
    file.write_text(plan if isinstance(plan, str) else yaml.safe_dump(plan, sort_keys=False))
    return load_plan(file)


def test_the_shipped_plan_is_right():
    plan = load_plan(ROOT / "configs/experiments.yaml")
    check_configs(plan, ROOT)
    assert list(plan.variants)[:3] == [f"strategy_lr/side_{rate}" for rate in (0.00025, 0.0005, 0.001)]
    assert all(len(plan.variants[f"strategy/{name}"].seeds) >= 3 for name in ("side", "full", "zero_shot"))
    # rates are not chosen on what they are then compared on
    assert all(v.keys["DATASETS.TEST"] == ["shapes_ow_test"] for v in plan.variants.values() if v.search)


def test_a_variant_has_what_its_group_has_unless_it_overrides_it(tmp_path):
    plan = copy.deepcopy(PLAN)
    plan["groups"]["main"].update(keys={"A": 1, "B": 1})
    plan["groups"]["main"]["variants"]["full"] = {"keys": {"B": 2}, "seeds": [7]}
    variants = load(tmp_path, plan).variants
    assert list(variants) == ["rates/side_0.001", "rates/side_0.002", "main/side", "main/full"]
    assert variants["main/full"].keys == {"A": 1, "B": 2} and variants["main/side"].keys == {"A": 1, "B": 1}
    assert variants["main/full"].seeds == (7,) and variants["main/side"].seeds == (1, 2)
    assert variants["main/full"].rate_of == "rates/side" == variants["rates/side_0.001"].search


def test_a_module_alone_makes_no_other_run(tmp_path):
    plan = copy.deepcopy(PLAN)
    control = {"IMPORTS": ["effowt_ablations"]}
    plan["groups"]["rates"]["variants"] = {
        "plain": None,
        "imported": {"keys": control},
        "control": {"keys": {**control, "MODEL.SIDE.GATE.KIND": "channel"}},
        "own_key": {"keys": {**control, "MODEL.SIDE.SEED": 3}},
    }
    del plan["groups"]["main"]
    plan, runs = load(tmp_path, plan), open_runs(tmp_path / "runs.csv")
    recipes = {v.name: make_recipe(plan, v, runs, ROOT) for v in plan.variants.values()}
    assert recipes["imported"].cfg.IMPORTS == ("effowt_ablations",) and "IMPORTS" in recipes["imported"].options
    assert recipes["imported"].digest == recipes["plain"].digest
    assert len({recipe.digest for recipe in recipes.values()}) == 3


def test_null_takes_back_what_the_group_sets(tmp_path):
    plan = copy.deepcopy(PLAN)
    plan["groups"]["main"].update(config="configs/a.yaml", datasets="data")
    plan["groups"]["main"]["variants"][4] = {"rate_of": None, "config": None, "seeds": None, "datasets": None}
    variants = load(tmp_path, plan).variants
    side, other = variants["main/side"], variants["main/4"]
    assert (side.rate_of, side.config, side.seeds, side.datasets) == ("rates/side", "configs/a.yaml", (1, 2), "data")
    assert (other.rate_of, other.config, other.seeds, other.datasets) == ("", None, (1,), "")


def changed(path, value):
    plan = copy.deepcopy(PLAN)
    node = plan
    for name in path[:-1]:
        node = node[name]
    node[path[-1]] = value
    return plan


@pytest.mark.parametrize("plan, words", [
    (changed(["seeds"], [1]), ["the plan", "'seeds'", "config, groups, keys"]),
    (changed(["groups"], {}), ["'groups'", "{}"]),
    (changed(["groups", "main", "variant"], {}), ["group 'main'", "'variant'", "variants"]),
    (changed(["groups", "main", "variants"], {}), ["group 'main'", "'variants'", "{}"]),
    (changed(["groups", "main", "base"], "main/sdie"), ["group 'main'", "'main/sdie'", "main/side"]),
    (changed(["groups", "main", "rate_of"], "rate/side"), ["main/side", "'rate/side'", "rates/side"]),
    (changed(["groups", "main", "seeds"], ["one"]), ["main", "'seeds'", "['one']"]),
    (changed(["groups", "main", "variants", "side"], {"seeds": [-1]}), ["main/side", "'seeds'", "[-1]"]),
    (changed(["groups", "main", "variants", "side"], {"seeds": 3}), ["main/side", "'seeds'", "3"]),
    (changed(["groups", "main", "of"], 5), ["group 'main'", "'of'", "5"]),
    (changed(["config"], ["a"]), ["the plan", "'config'", "['a']"]),
    (changed(["groups", "main", "variants", "side"], 0), ["main/side", "0"]),
    (changed(["groups", "main", "keys"], ["A", 1]), ["group 'main'", "'keys'", "['A', 1]"]),
    (changed(["groups", "main", "claims"], [{"says": "x", "higher": "main/side"}]), ["a claim of group 'main'", "main/side"]),
    (changed(["groups", "main", "claims"], [{"says": "x", "equal": ["main/side"]}]), ["a claim of group 'main'", "'equal'"]),
    (changed(["groups", "main", "claims"], [{"higher": "a", "lower": "b"}]), ["a claim of group 'main'", "'says'"]),
    (changed(["groups", "main", "claims"], [{"says": "x", "more": "a"}]), ["a claim of group 'main'", "'more'", "higher"]),
    (changed(["groups", "main", "claims"], [{"says": "x", "equal": ["main/side", "main/no"]}]), ["'main/no'"]),
    (changed(["groups", "main", "variants", "again"], {"of": "main/side"}), ["main/again", "'of'"]),
    (changed(["groups", "again"], {"of": "main/side", "seeds": [3], "variants": {"x": None}}), ["seeds [3]"]),
    (changed(["groups", "rates", "variants", "side_0.001"], None), ["2 variants 'rates/side_0.001'"]),
    (changed(["groups", "rates", "variants", "side"], {"search": [0.1]}), ["rates/side", "'search'", "[0.1]"]),
    ("config: a\ngroups:\n  one: {variants: {x: }}\n  one: {variants: {x: }}\n", ["'one'", "line 4"]),
    ("config: [a\n", ["plan.yaml"]),
    ("- a\n", ["the plan", "['a']"]),
])  # fmt: skip
def test_mistakes_are_named(tmp_path, plan, words):
    with raises(PlanError, words, "plan.yaml"):
        load(tmp_path, plan)


@pytest.mark.parametrize("plan, word", [
    (changed(["keys", "SOLVER.MAX_ITERS"], 4), "SOLVER.MAX_ITERS"),
    (changed(["groups", "main", "variants", "full"], {"keys": {"MODEL.SIDE.REDUCTION": "wide"}}), "main/full"),
    (changed(["config"], "configs/none.yaml"), "none.yaml: no such file"),
])  # fmt: skip
def test_mistakes_in_configs_end_the_runner_before_anything_runs(runs, plan, word):
    runs.write(plan)
    with raises(SystemExit, "run_experiments.py", word):
        runs()
    assert not runs.csv.exists() and not runs.output.exists()


@pytest.mark.parametrize("arguments, data", [
    (["--only", "mian"], ("mian", "rates", "main")),
    (["--plan", "no.yaml"], ("no.yaml",)),
])  # fmt: skip
def test_mistakes_on_the_command_line(runs, arguments, data):
    with raises(SystemExit, *data):
        runs(*arguments)
