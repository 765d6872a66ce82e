"""A small plan, and the runner on it as from the command line."""

import csv
from pathlib import Path

import run_experiments
import yaml

from helpers import FOLDER

PLAN = {
    "config": "configs/quick/shapes_ow_effowt.yaml",
    "keys": {"SOLVER.MAX_ITER": 4, "TEST.EVAL_PERIOD": 2, "INPUT.MIN_SIZE_TRAIN": [64]},
    "groups": {
        "rates": {
            "seeds": [1, 2],
            "variants": {"side": {"search": [{"SOLVER.BASE_LR": 0.001}, {"SOLVER.BASE_LR": 0.002}]}},
        },
        "main": {
            "seeds": [1, 2],
            "rate_of": "rates/side",
            "base": "main/side",
            "variants": {"side": None, "full": {"keys": {"MODEL.TRANSFER.STRATEGY": "full"}}},
        },
    },
}


class Runs:
    """The runner in a folder of its own, with a dummy for the training."""

    script = FOLDER / "dummy_train.py"

    def __init__(self, folder: Path):
        self.output, self.csv, self.plan = folder / "output", folder / "results" / "runs.csv", folder / "plan.yaml"
        self.write(PLAN)

    def write(self, plan: dict) -> None:
        self.plan.write_text(yaml.safe_dump(plan, sort_keys=False))

    def arguments(self, *more: str) -> list[str]:
        named = {"plan": self.plan, "output": self.output, "csv": self.csv, "script": self.script}
        return [text for name, value in named.items() for text in (f"--{name}", str(value))] + list(more)

    def __call__(self, *more: str) -> int:
        return run_experiments.main(self.arguments(*more))

    def behave(self, path: str, *behaviours: str) -> None:
        """What the coming starts of a run, GROUP/NAME, do."""
        (self.output / path).mkdir(parents=True, exist_ok=True)
        (self.output / path / "behave.txt").write_text("\n".join(behaviours))

    def starts(self, path: str) -> list[str]:
        """The command lines that a run's folder has seen, since it was last cleared."""
        file = self.output / path / "starts.txt"
        return file.read_text().splitlines() if file.is_file() else []

    def rows(self, file: str = "runs.csv") -> list[dict]:
        with open(self.csv.parent / file, newline="") as stream:
            return list(csv.DictReader(stream))

    def row(self, path: str) -> dict:
        (row,) = [row for row in self.rows() if f"{row['group']}/{row['name']}/seed{row['seed']}" == path]
        return row
