"""Success and precision plots of one or several trackers."""

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from effowt_d2.utils.files import write_atomically

from .one_pass import Report

__all__ = ["plot_curves"]

_PLOTS = {
    "success": ("overlap threshold", "frames above it, %"),
    "precision": ("distance threshold, pixels", "frames within it, %"),
    "normalised": ("normalised distance threshold", "frames within it, %"),
}
_FIGURES = {"success": "AUC", "precision": "P", "normalised": "Pnorm"}


def plot_curves(reports: Mapping[str, Report], folder: Path) -> list[Path]:
    """Draw the curves of trackers on the same sequences.

    Args:
        reports: by the trackers' names, best first in the legend.
        folder: is made where it is missing.

    Returns:
        ``success.png``, ``precision.png`` and ``normalised.png`` in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_plot(curve, reports, folder / f"{curve}.png") for curve in _PLOTS]


def _plot(curve: str, reports: Mapping[str, Report], path: Path) -> Path:
    # without pyplot, whose figures are one global state
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    figures = {name: report.headline.get(_FIGURES[curve]) for name, report in reports.items()}
    for name in sorted(reports, key=lambda name: -(figures[name] or 0)):
        label = name if figures[name] is None else f"{name} [{figures[name]:.1f}]"
        axes.plot(reports[name].thresholds[curve], reports[name].curves[curve], label=label)
    axes.set(xlabel=_PLOTS[curve][0], ylabel=_PLOTS[curve][1], ylim=(0, 100), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    write_atomically(path, lambda target: target.write(stream.getvalue()))
    return path
