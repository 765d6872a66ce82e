"""The results page: tables and sentences generated from the recorded runs."""

from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from .plan import Group
from .plots import draw_ablations, draw_curves, draw_memory, save
from .sentences import (
    KNOWN,
    NOT_RUN,
    STRATEGIES,
    UNKNOWN,
    ablation_differences,
    ablations_sentence,
    claim_verdict,
    curves_sentence,
    memory_sentence,
    paired,
    signed,
)
from .summary import Spread, Summary
from .texts import INTRO, limits

__all__ = ["make_page", "make_plots"]

COLUMNS = {
    "all": "OWTA-all",
    "known": KNOWN,
    "unknown": UNKNOWN,
    "D.Re unknown": "D.Re-unknown",
    "A.Acc unknown": "A.Acc-unknown",
}
"""Columns of scores: head in the page, column of the runs; searches show the first three."""
COSTS = {
    "trained": "trained_parameters",
    "side": "side_parameters",
    "training MiB": "training_mib",
    "checkpoint MiB": "checkpoint_mib",
}
"""Columns of costs: head in the page, column of the runs."""


def make_page(summary: Summary, figures: str = "results") -> str:
    """The whole page as Markdown.

    Args:
        summary: of the runs.
        figures: folder of the figures, relative to the page.
    """
    parts = [INTRO, _claims(summary)]
    for group in summary.plan.groups:
        parts.append(_group(summary, group))
        if _has_curve(summary, group):
            parts.append(_figure(f"{figures}/curves_{group.name}.svg", curves_sentence(summary, group)))
        if group.name == "strategy":
            parts += [_strategy_differences(summary), _figure(f"{figures}/memory.svg", memory_sentence(summary))]
    parts.append("## All ablations together\n")
    parts.append(_figure(f"{figures}/ablations.svg", ablations_sentence(summary, _ablations(summary))))
    parts += [limits(_steps(summary)), _open_rows(summary)]
    return "\n".join(parts)


def make_plots(summary: Summary, folder: Path) -> list[Path]:
    """Write the figures that the page shows; their files."""
    plots: dict[str, tuple[Callable, float]] = {
        f"curves_{group.name}": (lambda axes, group=group: draw_curves(axes, summary, group), 3.8)
        for group in summary.plan.groups
        if _has_curve(summary, group)
    }
    ablations = _ablations(summary)
    if memory_sentence(summary) != NOT_RUN:
        trained = [g for g in summary.plan.groups if g.name == "strategy" or g in ablations and _same_training(g)]
        plots["memory"] = (lambda axes: draw_memory(axes, summary, trained), 3.8)
    if bars := len(ablation_differences(summary, ablations)):
        plots["ablations"] = (lambda axes: draw_ablations(axes, summary, ablations), 0.8 + 0.2 * bars)
    files = []
    for name, (draw, height) in plots.items():
        files.append(folder / f"{name}.svg")
        save(draw, files[-1], (6.4, height))
    return files


def _has_curve(summary: Summary, group: Group) -> bool:
    return any(len(summary.curve(variant.path, UNKNOWN)) > 1 for variant in group.variants)


def _same_data(group: Group) -> bool:
    return not any("DATASETS.TEST" in variant.keys for variant in group.variants)


def _same_training(group: Group) -> bool:
    return not any("SOLVER.MAX_ITER" in variant.keys or variant.of for variant in group.variants)


def _ablations(summary: Summary) -> list[Group]:
    """Groups that are compared with a base on the dataset of that base."""
    return [g for g in summary.plan.groups if g.base and g.name != "strategy" and _same_data(g)]


def _claims(summary: Summary) -> str:
    rows = []
    for group in summary.plan.groups:
        for claim in group.claims:
            result, difference = claim_verdict(summary, claim)
            rows.append([claim.says, f"**{result}**", f"{claim.first} − {claim.second}", difference])
    head = ["the paper's claim, on unknown classes", "result", "compared", "OWTA"]
    return f"## Claims of the paper\n\n{_table(rows, head)}\n"


def _group(summary: Summary, group: Group) -> str:
    paths = [variant.path for variant in group.variants]
    done = [path for path in paths if summary.rows(path)]
    title = f"## {group.about[0].upper()}{group.about[1:]}\n"
    if not done:
        return f"{title}\n{NOT_RUN}\n"
    columns = dict(list(COLUMNS.items())[: 3 if any(variant.search for variant in group.variants) else None])
    head = ["variant", "n", *columns, *COSTS]
    head += ["unknown − base"] if group.base else []
    rows = []
    for path in done:
        spreads = [summary.spread(path, column) for column in columns.values()]
        cells = [path, _count(spreads), *map(_cell, spreads)]
        cells += [_plain(summary.spread(path, column)) for column in COSTS.values()]
        if group.base:
            cells.append("base" if path == group.base else paired(summary.difference(path, group.base, UNKNOWN)))
        rows.append(cells)
    head, rows = _informative(head, rows)
    missing = [path for path in paths if path not in done]
    notes = [_revisions(summary, done)]
    notes += [f"Base: {group.base}."] if group.base and group.base not in paths else []
    notes += [f"Not run: {', '.join(missing)}."] if missing else []
    return f"{title}\n{_table(rows, head)}\n\n{' '.join(notes)}\n"


def _informative(head: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without empty columns, and without costs that are the same in several rows."""
    values = [{row[place] for row in rows} for place in range(len(head))]
    same = [len(rows) > 1 and len(found - {""}) == 1 and name in COSTS for name, found in zip(head, values)]
    kept = [place for place, found in enumerate(values) if found != {""} and not same[place]]
    return [head[place] for place in kept], [[row[place] for place in kept] for row in rows]


def _strategy_differences(summary: Summary) -> str:
    side, full, zero = STRATEGIES
    rows = []
    for first, second in ((side, full), (side, zero), (full, zero)):
        for where, column in (("unknown", UNKNOWN), ("known", KNOWN)):
            difference = summary.difference(first, second, column)
            if difference is None:
                continue
            values = ", ".join(signed(value) for value in difference.values)
            interval = f"±{difference.interval:.1f}" if difference.n > 1 else ""
            rows.append([f"{first} − {second}", where, paired(difference), interval, values])
    head = ["paired difference", "OWTA", "mean ± sd (n)", "95 % interval", "by seed"]
    return f"{_table(rows, head)}\n" if rows else ""


def _figure(file: str, sentence: str) -> str:
    return f"{sentence}\n" if sentence == NOT_RUN else f"![{Path(file).stem}]({file})\n\n{sentence}\n"


def _steps(summary: Summary) -> list[int]:
    """Lengths of the trainings, each once."""
    rows = [row for path in summary.plan.variants for row in summary.rows(path)]
    return sorted({int(row["steps"]) for row in rows} - {0})


def _open_rows(summary: Summary) -> str:
    lines = ["## Runs left out\n"]
    for row in summary.unfinished:
        lines.append(f"- {_name(row)}: {row['status']}{': ' if row['error'] else ''}{row['error']}")
    for row in summary.left_out:
        lines.append(f"- {_name(row)}, revision {row['revision']}: another plan or learning rate")
    return "\n".join(lines if len(lines) > 1 else [*lines, "None."]) + "\n"


def _name(row: dict[str, str]) -> str:
    return f"{row['group']}/{row['name']}, seed {row['seed']}"


def _revisions(summary: Summary, paths: list[str]) -> str:
    counts = sorted(summary.revisions(paths).items())
    listed = ", ".join(f"{revision} ({count} run{'s' * (count > 1)})" for revision, count in counts)
    if len(counts) == 1:
        return f"Revision {listed}."
    return f"**Revisions differ** and are part of the comparison: {listed}."


def _table(rows: list[list[str]], head: list[str]) -> str:
    return tabulate(rows, head, tablefmt="github", disable_numparse=True)


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return f"{spread.mean:.1f} ±{spread.sd:.1f}" if spread.n > 1 else f"{spread.mean:.1f}"


def _count(spreads: list[Spread | None]) -> str:
    """Number of seeds of a row; a range where the scores of a row differ in it."""
    counts = sorted({spread.n for spread in spreads if spread})
    return "-".join(map(str, counts[:1] + counts[1:][-1:]))


def _plain(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.mean:,.0f}"
