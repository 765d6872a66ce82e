"""The plan of the experiments: a YAML file of groups of variants, checked before anything runs.

    config: configs/quick/shapes_ow_effowt.yaml   # of all groups
    keys: {SOLVER.MAX_ITER: 150}
    groups:
      strategy_lr:
        about: each strategy's learning rate       # title of its table
        seeds: [1]
        variants:
          side:
            search:                                # one run each: strategy_lr/side_0.0005, strategy_lr/side_0.001
              - {SOLVER.BASE_LR: 0.0005}
              - {SOLVER.BASE_LR: 0.001}
      strategy:
        seeds: [1, 2, 3]
        variants:
          side: {rate_of: strategy_lr/side}        # takes the keys of the best of that search
      tracker:
        of: strategy/side                          # evaluates that run's model again, trains nothing
        base: strategy/side                        # what the group's variants are compared with
        variants:
          owtb: {keys: {TRACKER.PRESET: owtb}}

        claims:                                    # what the results are to say whether it is seen
          - {says: the config's own settings are better, higher: strategy/side, lower: tracker/owtb}

A variant has what its group has unless it says otherwise; of keys, the variant's own win, then the group's, then the
search's, then the plan's.
"""

import difflib
import os
from collections.abc import Collection
from pathlib import Path

import yaml

from .plan import Claim, Group, Plan, PlanError, Variant

__all__ = ["load_plan"]

_SHARED = ("config", "keys", "seeds", "rate_of", "of", "datasets")
_PLAN = ("config", "keys", "groups")
_GROUP = ("about", "base", "variants", "claims", *_SHARED)
_CLAIM = ("says", "higher", "lower", "equal")
_VARIANT = ("search", *_SHARED)


def load_plan(file: str | os.PathLike) -> Plan:
    """Read a plan and check what can be checked without Detectron2.

    Raises:
        FileNotFoundError: there is no such file.
        PlanError: it is no plan: unknown fields, a name given twice, references to what is not there.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"plan {file}: no such file")
    try:
        data = yaml.load(Path(file).read_text(), Loader=_StrictLoader)
        return _plan(data, str(file))
    except yaml.YAMLError as error:
        raise PlanError(f"{file}: {' '.join(str(error).split())}") from error
    except PlanError as error:
        raise PlanError(f"{file}: {error}") from error


class _StrictLoader(yaml.SafeLoader):
    """YAML's own rule that a key stands once in a mapping, which PyYAML does not keep."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise PlanError(f"'{key.value}' stands twice in one place, line {key.start_mark.line + 1}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _plan(data: object, file: str) -> Plan:
    _check_fields(data, _PLAN, "the plan")
    for name in ("config", "groups"):
        if not data.get(name):
            raise PlanError(f"it has no '{name}'")
    _check_keys(data, "the plan")
    _check_fields(data["groups"], None, "groups")
    groups = tuple(_group(name, fields) for name, fields in data["groups"].items())
    plan = Plan(file, data["config"], data.get("keys") or {}, groups)
    _check_unique(plan)
    for group in groups:
        _check_references(plan, group)
    return plan


def _group(name: str, fields: object) -> Group:
    where = f"group '{name}'"
    _check_fields(fields, _GROUP, where)
    if not fields.get("variants"):
        raise PlanError(f"{where} has no variants")
    _check_keys(fields, where)
    _check_fields(fields["variants"], None, f"the variants of {where}")
    variants = []
    for variant, own in fields["variants"].items():
        variants += _variants(name, fields, variant, own or {})
    claims = tuple(_claim(claim, where) for claim in fields.get("claims") or ())
    return Group(name, fields.get("about") or name, fields.get("base") or "", tuple(variants), claims)


def _claim(fields: object, where: str) -> Claim:
    where = f"a claim of {where}"
    _check_fields(fields, _CLAIM, where)
    given = tuple(sorted(fields))
    if given == ("higher", "lower", "says"):
        return Claim(fields["says"], fields["higher"], fields["lower"], equal=False)
    if given == ("equal", "says") and isinstance(fields["equal"], list) and len(fields["equal"]) == 2:
        return Claim(fields["says"], *fields["equal"], equal=True)
    raise PlanError(f"{where} must have says, higher and lower, or says and equal (two variants), got {fields}")


def _variants(group: str, shared: dict, name: str, own: object) -> list[Variant]:
    """The variant, or one for each try of its search."""
    where = f"variant '{group}/{name}'"
    _check_fields(own, _VARIANT, where)
    _check_keys(own, where)
    merged = {key: own.get(key, shared.get(key)) for key in _SHARED}
    keys = {**(shared.get("keys") or {}), **(own.get("keys") or {})}
    seeds = merged["seeds"] or [1]
    if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise PlanError(f"{where}: seeds must be a list of whole numbers from 0, got {seeds}")
    common = {key: merged[key] or "" for key in ("rate_of", "of", "datasets")}
    common.update(config=merged["config"], seeds=tuple(seeds), group=group)
    if common["of"] and (common["rate_of"] or "search" in own or merged["config"]):
        raise PlanError(f"{where}: with 'of' nothing is trained; config, rate_of and search are the other run's")
    if "search" not in own:
        return [Variant(name=str(name), keys=keys, **common)]
    tries = own["search"]
    if not isinstance(tries, list) or not tries or not all(isinstance(tried, dict) and tried for tried in tries):
        raise PlanError(f"{where}: search must be a list of mappings of config keys, got {tries}")
    names = ["_".join([str(name), *map(str, tried.values())]) for tried in tries]
    return [
        Variant(name=title, keys={**keys, **tried}, search=f"{group}/{name}", tried=tried, **common)
        for title, tried in zip(names, tries)
    ]


def _check_fields(data: object, known: tuple[str, ...] | None, where: str) -> None:
    if not isinstance(data, dict):
        raise PlanError(f"{where} must be a mapping, got {data!r}")
    for name in data if known else ():
        if name not in known:
            raise PlanError(f"{where} has an unknown field '{name}'; known are {', '.join(known)}")


def _check_keys(fields: dict, where: str) -> None:
    if not isinstance(fields.get("keys") or {}, dict):
        raise PlanError(f"{where}: keys must be a mapping of config keys to values, got {fields['keys']!r}")


def _check_unique(plan: Plan) -> None:
    paths = [variant.path for group in plan.groups for variant in group.variants]
    for path in paths:
        if paths.count(path) > 1:
            raise PlanError(f"there are {paths.count(path)} variants '{path}'")


def _check_references(plan: Plan, group: Group) -> None:
    variants = plan.variants
    searches = {variant.search for variant in variants.values() if variant.search}
    if group.base and group.base not in variants:
        raise PlanError(f"group '{group.name}': base {_unknown(group.base, variants)}")
    for path in (path for claim in group.claims for path in (claim.first, claim.second)):
        if path not in variants:
            raise PlanError(f"a claim of group '{group.name}': {_unknown(path, variants)}")
    for variant in group.variants:
        where = f"variant '{variant.path}'"
        if variant.rate_of and variant.rate_of not in searches:
            raise PlanError(f"{where}: rate_of {_unknown(variant.rate_of, searches)}")
        if not variant.of:
            continue
        if variant.of not in variants:
            raise PlanError(f"{where}: of {_unknown(variant.of, variants)}")
        source = variants[variant.of]
        if source.of:
            raise PlanError(f"{where}: '{variant.of}' trains nothing itself, it is one of '{source.of}'")
        if missing := sorted(set(variant.seeds) - set(source.seeds)):
            raise PlanError(f"{where}: seeds {missing} are not among those of '{variant.of}', {list(source.seeds)}")


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=5, cutoff=0)
    return f"'{name}' is not in the plan; the most similar are {', '.join(near)}"
