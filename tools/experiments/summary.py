"""Statistics of each variant from the table of runs: valid rows, means, spreads, paired differences."""

import itertools
import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from .plan import Plan, Variant
from .table import DONE

__all__ = ["Difference", "Spread", "Summary"]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of n numbers."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        """NaN for a single number."""
        return statistics.stdev(self.values) if self.n > 1 else math.nan


@dataclass(frozen=True)
class Difference(Spread):
    """Differences of two variants' scores, one per seed that both have."""

    @property
    def seen(self) -> bool:
        """Whether the mean is larger than the spread; never for one seed."""
        return self.n > 1 and abs(self.mean) > self.sd

    @property
    def clear(self) -> bool:
        """Whether the 95 % interval of the mean leaves out zero, too."""
        return self.seen and abs(self.mean) > self.interval

    @property
    def interval(self) -> float:
        """Half width of the 95 % interval of the mean, by Student's t."""
        return float(student.ppf(0.975, self.n - 1)) * self.sd / math.sqrt(self.n) if self.n > 1 else math.nan


class Summary:
    """The finished rows that belong to a plan as it is now, by variant.

    Rows of another plan or of an older choice of a search are skipped; they and the unfinished ones are listed.

    Args:
        plan: names, order, and the keys that each row must have.
        runs: rows of the table of runs.
        curves: rows of the table of evaluations.
    """

    def __init__(self, plan: Plan, runs: Sequence[dict[str, str]], curves: Sequence[dict[str, str]]):
        self.plan = plan
        self._rows: dict[str, list[dict[str, str]]] = {}
        self.left_out: list[dict[str, str]] = []
        self.unfinished: list[dict[str, str]] = []
        for path, variant in plan.variants.items():
            self._rows[path] = self._take(variant, [r for r in runs if f"{r['group']}/{r['name']}" == path])
        self.left_out += [r for r in runs if f"{r['group']}/{r['name']}" not in plan.variants]
        self._curves = curves

    def _take(self, variant: Variant, rows: list[dict[str, str]]) -> list[dict[str, str]]:
        config = (self.plan.variants[variant.of] if variant.of else variant).config or self.plan.config
        allowed = list(_possible_keys(self.plan, variant))
        fitting = [row for row in rows if row["config"] == config and json.loads(row["keys"]) in allowed]
        digest = max(fitting, key=lambda row: row["started"])["digest"] if fitting else None
        current = [row for row in fitting if row["digest"] == digest]
        self.left_out += [row for row in rows if row not in current]
        self.unfinished += [row for row in current if row["status"] != DONE]
        return sorted((row for row in current if row["status"] == DONE), key=lambda row: int(row["seed"]))

    def rows(self, path: str) -> list[dict[str, str]]:
        """Finished rows of a variant, by seed."""
        return self._rows[path]

    def spread(self, path: str, column: str) -> Spread | None:
        """Of a column over the seeds; None without values."""
        values = tuple(float(row[column]) for row in self._rows[path] if row[column])
        return Spread(values) if values else None

    def difference(self, first: str, second: str, column: str) -> Difference | None:
        """First minus second, paired by seed; None without a seed that both have."""
        by_seed = [{row["seed"]: float(row[column]) for row in self._rows[path]} for path in (first, second)]
        seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
        return Difference(tuple(by_seed[0][seed] - by_seed[1][seed] for seed in seeds)) if seeds else None

    def curve(self, path: str, column: str) -> dict[int, Spread]:
        """A score after each evaluated step."""
        names = {_name(row) for row in self._rows[path]}
        points = sorted((int(row["step"]), float(row[column])) for row in self._curves if _name(row) in names)
        grouped = itertools.groupby(points, key=lambda point: point[0])
        return {step: Spread(tuple(value for _, value in group)) for step, group in grouped}

    def revisions(self, paths: Iterable[str]) -> Counter:
        """How many finished rows of these variants each revision has."""
        return Counter(row["revision"] for path in paths for row in self._rows[path])


def _name(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(row[key] for key in ("group", "name", "seed", "digest"))


def _possible_keys(plan: Plan, variant: Variant):
    """The keys that a row of the variant may have, one for each outcome of the search it depends on."""
    trained = plan.variants[variant.of] if variant.of else variant
    own = {**trained.keys, **(variant.keys if variant.of else {})}
    tries = [tried.tried for tried in plan.tries(trained.rate_of)] if trained.rate_of else [{}]
    for tried in tries:
        # as a row holds them
        yield json.loads(json.dumps({**plan.keys, **tried, **own}))
