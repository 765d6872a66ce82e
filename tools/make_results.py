#!/usr/bin/env python
"""Make the page of results and its figures from the table of runs.

    python tools/make_results.py [--csv docs/results/runs.csv] [--out docs/results.md]

The figures lie beside the CSV. The same table gives the same files, byte for byte with one version of matplotlib.
"""

import argparse
import os
import sys
from pathlib import Path

from experiments.plan_file import load_plan
from experiments.report import make_page, make_plots
from experiments.summary import Summary
from experiments.table import open_curves, open_runs

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--plan", type=Path, default=ROOT / "configs/experiments.yaml")
    add("--csv", type=Path, default=ROOT / "docs/results/runs.csv", help="of run_experiments.py")
    add("--out", type=Path, default=ROOT / "docs/results.md")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    try:
        summary = Summary(load_plan(args.plan), open_runs(args.csv).rows, open_curves(args.csv).rows)
        figures = make_plots(summary, args.csv.parent)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(make_page(summary, os.path.relpath(args.csv.parent, args.out.parent)))
    except (ValueError, OSError) as error:
        sys.exit(f"make_results.py: error: {error}")
    for file in (args.out, *figures):
        print(os.path.relpath(file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
