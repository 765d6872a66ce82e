"""From a variant of the plan to the config of its runs, and a digest by which finished ones are recognised."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode

from effowt_d2.engine import make_config

from .plan import Plan, PlanError, Variant
from .table import DONE, Table

__all__ = ["JUDGED_BY", "NotReady", "Recipe", "check_configs", "make_recipe"]

JUDGED_BY = "OWTA-all"
"""The score by which a search chooses."""


class NotReady(Exception):
    """What a variant needs has not been run; the message names it."""


@dataclass(frozen=True)
class Recipe:
    """What the runs of a variant share."""

    config: str
    """File, relative to the root of the checkout or absolute."""
    keys: dict
    cfg: CfgNode
    digest: str

    @property
    def options(self) -> list[str]:
        """The keys as ``train_net.py`` takes them."""
        return [str(item) for pair in self.keys.items() for item in pair]


def make_recipe(plan: Plan, variant: Variant, runs: Table, root: Path) -> Recipe:
    """The config of a variant.

    Args:
        plan: it belongs to.
        variant: of the plan.
        runs: finished runs, to choose the best of a search from.
        root: what the config's path is relative to.

    Raises:
        NotReady: a search that it takes its keys from is not finished.
        PlanError: the config file is missing, or a key is wrong.
    """
    return _recipe(variant, _keys(plan, variant, runs, root), _config(plan, variant), root)


def check_configs(plan: Plan, root: Path) -> None:
    """Build the config of every variant, with the first try of each search in place of its best.

    Raises:
        PlanError: as :func:`make_recipe`.
    """
    for variant in plan.variants.values():
        source = plan.variants[variant.of] if variant.of else variant
        keys = {**_first_try(plan, source), **source.keys, **variant.keys}
        _recipe(variant, {**plan.keys, **keys}, _config(plan, variant), root)


def _first_try(plan: Plan, variant: Variant) -> dict:
    return plan.tries(variant.rate_of)[0].tried if variant.rate_of else {}


def _config(plan: Plan, variant: Variant) -> str:
    return (plan.variants[variant.of] if variant.of else variant).config or plan.config


def _keys(plan: Plan, variant: Variant, runs: Table, root: Path) -> dict:
    if variant.of:
        return {**_keys(plan, plan.variants[variant.of], runs, root), **variant.keys}
    best = _best(plan, variant.rate_of, runs, root) if variant.rate_of else {}
    return {**plan.keys, **best, **variant.keys}


def _best(plan: Plan, search: str, runs: Table, root: Path) -> dict:
    """The keys of the search's try with the highest mean score; of equal ones the first."""
    means = []
    for variant in plan.tries(search):
        digest = make_recipe(plan, variant, runs, root).digest
        rows = [runs.get(variant.group, variant.name, seed, digest) for seed in variant.seeds]
        missing = [seed for seed, row in zip(variant.seeds, rows) if not row or row["status"] != DONE]
        if missing:
            raise NotReady(f"needs {variant.path}, seed {missing[0]}, of the search {search}")
        means.append((sum(float(row[JUDGED_BY]) for row in rows) / len(rows), variant.tried))
    return max(means, key=lambda pair: pair[0])[1]


def _recipe(variant: Variant, keys: dict, config: str, root: Path) -> Recipe:
    options = [str(item) for pair in keys.items() for item in pair]
    file = root / config
    try:
        cfg = make_config(str(file), options)
    except (ValueError, OSError) as error:
        raise PlanError(f"variant '{variant.path}': {error}") from error
    return Recipe(config, keys, cfg, _digest(cfg, variant.of))


def _digest(cfg: CfgNode, of: str) -> str:
    """Of the keys that differ from their defaults, so that a new key does not make old runs unknown, nor does the module
    that a key comes from."""
    defaults = _defaults(tuple(cfg.IMPORTS))
    changed = {key: value for key, value in _leaves(cfg) if key not in defaults or defaults[key] != value}
    for key in ("IMPORTS", "OUTPUT_DIR", "SEED"):
        changed.pop(key, None)
    text = json.dumps([of, changed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@functools.cache
def _defaults(imports: tuple[str, ...]) -> dict:
    return dict(_leaves(make_config("", ["IMPORTS", imports])))


def _leaves(node: CfgNode, path: str = ""):
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", list(value) if isinstance(value, tuple) else value
