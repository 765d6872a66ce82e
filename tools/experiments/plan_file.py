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
from msgspec import UNSET

from effowt_d2.utils.typed import as_typed

from .plan import Claim, Group, Plan, PlanError, Variant
from .plan_fields import ClaimFields, GroupFields, PlanFields, VariantFields

__all__ = ["load_plan"]


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
    fields = as_typed(data, PlanFields, "the plan", PlanError)
    groups = tuple(_group(name, group) for name, group in fields.groups.items())
    plan = Plan(file, fields.config, fields.keys or {}, groups)
    _check_unique(plan)
    for group in groups:
        _check_references(plan, group)
    return plan


def _group(name: str, data: object) -> Group:
    where = f"group '{name}'"
    fields = as_typed(data, GroupFields, where, PlanError)
    variants: list[Variant] = []
    for variant, own in fields.variants.items():
        variants += _variants(name, fields, str(variant), {} if own is None else own)
    claims = tuple(_claim(claim, f"a claim of {where}") for claim in fields.claims or ())
    return Group(name, fields.about or name, fields.base or "", tuple(variants), claims)


def _claim(data: object, where: str) -> Claim:
    fields = as_typed(data, ClaimFields, where, PlanError)
    if fields.higher and fields.lower and fields.equal is None:
        return Claim(fields.says, fields.higher, fields.lower, equal=False)
    if fields.equal and fields.higher is None and fields.lower is None:
        return Claim(fields.says, *fields.equal, equal=True)
    raise PlanError(f"{where} must have says, higher and lower, or says and equal (two variants), got {data}")


def _variants(group: str, shared: GroupFields, name: str, data: object) -> list[Variant]:
    """The variant, or one for each try of its search."""
    where = f"variant '{group}/{name}'"
    own = as_typed(data, VariantFields, where, PlanError)
    merged = {key: _first_set(getattr(own, key), getattr(shared, key)) for key in ("config", "seeds")}
    common = {key: _first_set(getattr(own, key), getattr(shared, key)) or "" for key in ("rate_of", "of", "datasets")}
    common.update(config=merged["config"], seeds=tuple(merged["seeds"] or [1]), group=group)
    keys = {**(shared.keys or {}), **(own.keys or {})}
    if common["of"] and (common["rate_of"] or own.search is not UNSET or merged["config"]):
        raise PlanError(f"{where}: with 'of' nothing is trained; config, rate_of and search are the other run's")
    if own.search is UNSET:
        return [Variant(name=name, keys=keys, **common)]
    return [
        Variant(
            name="_".join([name, *map(str, tried.values())]),
            keys={**keys, **tried},
            search=f"{group}/{name}",
            tried=tried,
            **common,
        )
        for tried in own.search
    ]


def _first_set(own: object, shared: object) -> object:
    return next((value for value in (own, shared) if value is not UNSET), None)


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
