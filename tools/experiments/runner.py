"""All runs of a plan, several at once, each once."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from pathlib import Path

from tqdm import tqdm

from .costs import count_costs
from .launcher import Launcher
from .plan import Plan, PlanError, Variant
from .recipe import NotReady, Recipe, make_recipe
from .revision import find_revision
from .run import Outcome, Run, RunFolder, execute, reason_to_skip
from .table import CURVE_COLUMNS, DONE, FAILED, KILLED, RUNNING, open_curves, open_runs

__all__ = ["Runner", "select"]


def select(plan: Plan, only: Sequence[str]) -> list[Variant]:
    """The variants to run, in the plan's order.

    Args:
        plan: all of them.
        only: GROUP, GROUP/NAME, or a search's GROUP/NAME; empty for all.

    Raises:
        PlanError: one of these is not in the plan.
    """
    variants = list(plan.variants.values())
    chosen = {name: {v.path for v in variants if name in (v.group, v.path, v.search)} for name in only}
    for name, found in chosen.items():
        if not found:
            groups = ", ".join(group.name for group in plan.groups)
            raise PlanError(f"--only {name}: no such group or variant; the groups are {groups}")
    wanted = set().union(*chosen.values())
    return [variant for variant in variants if not only or variant.path in wanted]


class Runner:
    """Runs what the table does not have yet.

    Args:
        plan: of the experiments.
        variants: those to run.
        csv: the table of runs; ``curves.csv`` is kept beside it.
        output: folder of the runs.
        root: of the checkout.
    """

    def __init__(self, plan: Plan, variants: Sequence[Variant], *, csv: Path, output: Path, root: Path):
        self._plan, self._output, self._root = plan, output, root
        self._runs, self._curves = open_runs(csv), open_curves(csv)
        self._pending = [Run(variant, seed) for variant in variants for seed in variant.seeds]
        self._costs: dict[str, dict] = {}
        self._counting = threading.Lock()

    def status(self) -> list[list[str]]:
        """Path, status and what is to say about it, of every run."""
        lines = []
        for run in self._pending:
            try:
                row = self._row(run, self._recipe(run.variant)) or {"status": "", "error": ""}
                lines.append([run.path, row["status"] or "to do", row["error"]])
            except NotReady as error:
                lines.append([run.path, "waits", str(error)])
        return lines

    def foreign_revisions(self) -> str:
        """A sentence on finished runs of other revisions of the code; "" if there are none."""
        now = find_revision(self._root)
        others = Counter(row["revision"] for row in self._runs.rows if row["status"] == DONE)
        others.pop(now, None)
        if not others:
            return ""
        listed = ", ".join(f"{revision} ({count})" for revision, count in others.items())
        return (
            f"finished runs of other revisions than {now}: {listed}; they are kept, and docs/results.md names the "
            "revisions of each table. Delete their rows to run them again"
        )

    def mark_killed(self) -> list[str]:
        """Mark the runs that nobody saw end; their paths."""
        lost = [row for row in self._runs.rows if row["status"] == RUNNING]
        self._runs.put({**row, "status": KILLED, "error": "the runner was killed"} for row in lost)
        return [f"{row['group']}/{row['name']}/seed{row['seed']}" for row in lost]

    def run(self, launcher: Launcher, jobs: int) -> dict[str, str]:
        """Run them, in the plan's order as far as they don't wait for each other.

        Args:
            launcher: starts their processes.
            jobs: processes at once.

        Returns:
            Why, by path, for each run that did not finish.
        """
        working: dict[Future, Run] = {}
        problems: dict[str, str] = {}
        pool = ThreadPoolExecutor(jobs)
        try:
            with tqdm(total=len(self._pending), unit="run") as bar:
                while True:
                    waiting = self._start(pool, launcher, working, jobs, problems, bar)
                    bar.set_postfix_str(", ".join(run.path for run in working.values()))
                    if not working:
                        return {**problems, **waiting}
                    for future in wait(working, return_when=FIRST_COMPLETED).done:
                        run = working.pop(future)
                        outcome = future.result()
                        if outcome.status != DONE:
                            problems[run.path] = f"{outcome.status}: {outcome.error}"
                        bar.update()
        finally:
            launcher.stop()
            pool.shutdown()

    def _start(self, pool, launcher, working, jobs, problems, bar) -> dict[str, str]:
        """Start what can be started; the reasons of those that can't be yet."""
        waiting = {}
        for run in list(self._pending):
            if len(working) >= jobs:
                break
            try:
                recipe, source = self._recipe(run.variant), self._source(run)
            except NotReady as error:
                waiting[run.path] = f"not run: {error}"
                continue
            self._pending.remove(run)
            row = self._row(run, recipe)
            if row and row["status"] == DONE:
                self._restate(row, recipe)
                bar.update()
            elif reason := reason_to_skip(run.variant, recipe, source, self._root):
                problems[run.path] = f"skipped: {reason}"
                bar.update()
            else:
                working[pool.submit(self._work, run, recipe, source, launcher)] = run
        return waiting

    def _work(self, run: Run, recipe: Recipe, source: Path | None, launcher: Launcher) -> Outcome:
        row = self._new_row(run, recipe)
        self._runs.put([row])
        try:
            place = RunFolder(self._output / run.path, digest=recipe.digest, revision=row["revision"])
            outcome = execute(run, recipe, place, launcher, source)
            row.update(status=outcome.status, error=outcome.error, seconds=place.seconds)
        except OSError as error:
            outcome = Outcome(FAILED, str(error), {}, 0.0)
            row.update(status=FAILED, error=str(error))
        if outcome.status == DONE:
            row.update(outcome.scores[max(outcome.scores)], peak_rss_mib=outcome.peak_rss_mib)
            row.update({} if source else self._count(recipe))
            self._keep_curve(row, outcome)
        self._runs.put([row])
        return outcome

    def _restate(self, row: dict[str, str], recipe: Recipe) -> None:
        """Let a finished run's row say its config as the plan does now: a key more with the value it had is no other."""
        recorded = {"config": recipe.config, "keys": json.dumps(recipe.keys)}
        if not recorded.items() <= row.items():
            self._runs.put([{**row, **recorded}])

    def _count(self, recipe: Recipe) -> dict[str, object]:
        with self._counting:
            if recipe.digest not in self._costs:
                self._costs[recipe.digest] = count_costs(recipe.cfg)
            return self._costs[recipe.digest]

    def _keep_curve(self, row: dict[str, object], outcome: Outcome) -> None:
        name = {key: row[key] for key in CURVE_COLUMNS[:4]}
        self._curves.drop(lambda old: all(old[key] == str(value) for key, value in name.items()))
        self._curves.put({**name, "step": step, **scores} for step, scores in outcome.scores.items())

    def _new_row(self, run: Run, recipe: Recipe) -> dict[str, object]:
        variant, revision = run.variant, find_revision(self._root)
        old = self._row(run, recipe) or {}
        started = old["started"] if old.get("revision") == revision else ""
        return {
            "group": variant.group,
            "name": variant.name,
            "seed": run.seed,
            "digest": recipe.digest,
            "status": RUNNING,
            "config": recipe.config,
            "keys": json.dumps(recipe.keys),
            "of": variant.of,
            "revision": revision,
            "started": started or datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "steps": 0 if variant.of else recipe.cfg.SOLVER.MAX_ITER,
        }

    def _recipe(self, variant: Variant) -> Recipe:
        return make_recipe(self._plan, variant, self._runs, self._root)

    def _row(self, run: Run, recipe: Recipe) -> dict[str, str] | None:
        return self._runs.get(run.variant.group, run.variant.name, run.seed, recipe.digest)

    def _source(self, run: Run) -> Path | None:
        """The checkpoint that the run evaluates."""
        if not run.variant.of:
            return None
        source = Run(self._plan.variants[run.variant.of], run.seed)
        row = self._row(source, self._recipe(source.variant))
        if not row or row["status"] != DONE:
            raise NotReady(f"needs {source.path}")
        return self._output / source.path / "model_final.pth"
