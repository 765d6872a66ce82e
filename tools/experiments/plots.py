"""The figures of the results, as SVG files that are the same whenever the numbers are."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plan import Group
from .sentences import KNOWN, UNKNOWN, ablation_differences
from .summary import Summary

__all__ = ["draw_ablations", "draw_curves", "draw_memory", "save"]

_STYLE = {"svg.hashsalt": "effowt_d2", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
          "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3}  # fmt: skip


def save(draw: Callable[[Axes], None], file: Path, size: tuple[float, float] = (6.4, 3.8)) -> None:
    """Draw on one pair of axes and write the file.

    Args:
        draw: gets the axes.
        file: SVG.
        size: width and height in inches.
    """
    with matplotlib.rc_context(_STYLE):
        # no pyplot: it would choose a window system and keep the figure
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None, "Creator": None})
    # matplotlib ends lines of the paths with blanks
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def draw_curves(axes: Axes, summary: Summary, group: Group) -> None:
    """Known against unknown OWTA of the group's variants over training; the last evaluation is the large mark."""
    for number, variant in enumerate(group.variants):
        known, unknown = (summary.curve(variant.path, column) for column in (KNOWN, UNKNOWN))
        if not known:
            continue
        x, y = ([spread.mean for spread in curve.values()] for curve in (known, unknown))
        colour, last = f"C{number}", max(known)
        axes.plot(x, y, "-o", color=colour, markersize=3, label=f"{variant.name} (n = {known[last].n})")
        axes.errorbar(
            x[-1], y[-1], xerr=_sd(known[last]), yerr=_sd(unknown[last]), fmt="o", color=colour, markersize=7, capsize=3
        )
        for step, spread in known.items():
            place = (spread.mean, unknown[step].mean)
            axes.annotate(step, place, textcoords="offset points", xytext=(4, -9), fontsize=7)
    axes.set(xlabel="OWTA known", ylabel="OWTA unknown")
    axes.legend(frameon=False)


def draw_memory(axes: Axes, summary: Summary, groups: list[Group]) -> None:
    """Training memory against unknown OWTA of everything that was trained, scored by the same groups."""
    for number, group in enumerate(groups):
        paths = [v.path for v in group.variants if summary.spread(v.path, "training_mib")]
        for path in paths:
            memory, score = summary.spread(path, "training_mib"), summary.spread(path, UNKNOWN)
            axes.errorbar(
                memory.mean, score.mean, yerr=_sd(score), fmt="o", color=f"C{number}", markersize=4, capsize=2
            )
            if number == 0:
                axes.annotate(path, (memory.mean, score.mean), textcoords="offset points", xytext=(5, 4), fontsize=7)
        if paths:
            axes.plot([], [], "o", color=f"C{number}", label=group.name)
    axes.set(xlabel="training memory, MiB", ylabel="OWTA unknown")
    axes.legend(frameon=False, fontsize=7)


def draw_ablations(axes: Axes, summary: Summary, groups: list[Group]) -> None:
    """Unknown OWTA of each variant minus its base's, paired by seed, with the standard deviation."""
    found = ablation_differences(summary, groups)
    colours = {group.name: f"C{number}" for number, group in enumerate(groups)}
    for place, (group, _, difference) in enumerate(found):
        axes.barh(
            place, difference.mean, xerr=_sd(difference), capsize=2,
            color=colours[group.name], alpha=1.0 if difference.clear else 0.6 if difference.seen else 0.3,
        )  # fmt: skip
    axes.set_yticks(range(len(found)), [path for _, path, _ in found], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel="OWTA unknown minus the base's (full: clear, paler: a hint, faint: within the spread)")


def _sd(spread) -> float | None:
    return spread.sd if spread.n > 1 else None
