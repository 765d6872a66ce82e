#!/usr/bin/env python
"""Run the experiments of a plan, each once, and keep their scores in a table.

    python tools/run_experiments.py --list
    python tools/run_experiments.py --jobs 2
    python tools/run_experiments.py --only strategy_lr strategy/side

Each run is a train_net.py in OUTPUT/GROUP/NAME/seedK, with its log in run.log there. A finished run is never repeated; one
that failed or was killed is marked in the table, and goes on from its last checkpoint at the next start. The plan's format
is described in tools/experiments/plan_file.py; tools/make_results.py makes tables and plots of what was run.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

import torch
from experiments.launcher import Launcher
from experiments.plan_file import load_plan
from experiments.recipe import check_configs
from experiments.runner import Runner, select
from tabulate import tabulate

ROOT = Path(__file__).resolve().parents[1]


def parse_args(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--plan", type=Path, default=ROOT / "configs/experiments.yaml")
    add("--output", type=Path, default=ROOT / "output/experiments", help="folder of the runs")
    add("--csv", type=Path, default=ROOT / "docs/results/runs.csv", help="the table; curves.csv is kept beside it")
    add("--only", nargs="+", default=[], metavar="GROUP[/NAME]")
    add("--jobs", type=int, default=1, help="runs at once, each with one thread")
    add("--script", type=Path, default=ROOT / "train_net.py", help="the program that trains")
    add("--list", action="store_true", help="list finished and pending runs")
    args = parser.parse_args(arguments)
    if args.jobs < 1:
        parser.error(f"--jobs must be 1 or more, got {args.jobs}")
    return args


def main(arguments: list[str] | None = None) -> int:
    args = parse_args(arguments)
    torch.set_num_threads(1)
    try:
        plan = load_plan(args.plan)
        variants = select(plan, args.only)
        check_configs(plan, ROOT)
        runner = Runner(plan, variants, csv=args.csv, output=args.output, root=ROOT)
        if args.list:
            print(tabulate(runner.status(), ("run", "status", "")))
            return 0
        launcher = Launcher(args.script, ROOT, args.output)
    except (ValueError, OSError) as error:
        sys.exit(f"run_experiments.py: error: {error}")
    return run(runner, launcher, args.jobs)


def run(runner: Runner, launcher: Launcher, jobs: int) -> int:
    """Run, and report the runs that did not finish."""
    for path in runner.mark_killed():
        print(f"{path} was killed with its runner; it goes on now if it is in the selection", file=sys.stderr)
    if others := runner.foreign_revisions():
        print(f"note: {others}", file=sys.stderr)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        problems = runner.run(launcher, jobs)
    except KeyboardInterrupt:
        sys.exit("run_experiments.py: interrupted; its runs are marked as killed and go on at the next start")
    finally:
        launcher.close()
    for path, reason in problems.items():
        print(f"{path}: {reason}", file=sys.stderr)
    skipped = sum(reason.startswith("skipped") for reason in problems.values())
    return int(len(problems) > skipped)


if __name__ == "__main__":
    # the models that are built to count parameters tell what the runs' own logs tell
    logging.getLogger("effowt_d2").setLevel(logging.ERROR)
    sys.exit(main())
