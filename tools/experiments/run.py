"""One run: train_net.py as a separate process with its own folder, and its outputs."""

import json
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from effowt_d2.utils.files import write_atomically

from .launcher import Launcher
from .plan import Variant
from .recipe import Recipe
from .scores import ScoresMissing, place_of, score_results, training_scores
from .table import DONE, FAILED, KILLED

__all__ = ["Outcome", "Run", "RunFolder", "execute", "reason_to_skip"]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Run:
    """A variant with one seed."""

    variant: Variant
    seed: int

    @property
    def path(self) -> str:
        return f"{self.variant.path}/seed{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str
    error: str
    scores: dict[int, dict[str, float]]
    """Percent, by step and by the names of ``table.SCORES``."""
    peak_rss_mib: float


class RunFolder:
    """A run's folder, with a note of what it is of and how long it took, which outlives a killed runner.

    Args:
        folder: its place.
        digest: of the run's config.
        revision: of the code. What another config or revision left in the folder is removed.
    """

    def __init__(self, folder: Path, *, digest: str, revision: str):
        self.folder = folder
        self._note_file = folder / "run.json"
        note = json.loads(self._note_file.read_text()) if self._note_file.is_file() else {}
        if (note.get("digest"), note.get("revision")) != (digest, revision):
            if folder.exists() and not note and any(folder.iterdir()):
                raise FileExistsError(f"{folder} holds something else than a run (it has no run.json)")
            shutil.rmtree(folder, ignore_errors=True)
            note = {"digest": digest, "revision": revision, "seconds": 0.0}
        folder.mkdir(parents=True, exist_ok=True)
        self._note = note
        self._settle()

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def seconds(self) -> float:
        """Of all attempts together."""
        return self._note["seconds"]

    def begin(self) -> None:
        """An attempt starts."""
        self.log.touch()
        self._write(since=time.time())

    def end(self) -> None:
        """It is over."""
        self._write(since=None, seconds=self.seconds + time.time() - self._note["since"])

    def clear(self) -> None:
        """Remove what was trained; time spent and log stay."""
        for entry in self.folder.iterdir():
            if entry not in (self.log, self._note_file):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def tidy(self) -> None:
        """Remove the checkpoints that a finished run doesn't need."""
        for file in self.folder.glob("model_[0-9]*.pth"):
            file.unlink()

    def _settle(self) -> None:
        # an attempt that nobody saw end lasted until it last wrote to its log
        since = self._note.get("since")
        if since is not None and self.log.is_file():
            self._write(since=None, seconds=self.seconds + max(0.0, self.log.stat().st_mtime - since))
        else:
            self._write(since=None)

    def _write(self, **changes) -> None:
        self._note.update(changes)
        text = json.dumps(self._note) + "\n"
        write_atomically(self._note_file, lambda stream: stream.write(text.encode()), durable=False)


def reason_to_skip(variant: Variant, recipe: Recipe, source: Path | None, root: Path) -> str:
    """Why an evaluation can't be run here; "" if it can.

    Args:
        variant: of the run.
        recipe: its config.
        source: the checkpoint that it evaluates, None for a training.
        root: of the checkout, which places are relative to.
    """
    if source and not source.is_file():
        return f"{source} is gone; delete the row of its run from the table to train it again"
    if variant.datasets:
        for dataset in recipe.cfg.DATASETS.TEST:
            file = root / place_of(dataset, variant.datasets)
            if not file.is_file():
                return f"dataset {dataset}: {file} is missing"
    return ""


def execute(run: Run, recipe: Recipe, place: RunFolder, launcher: Launcher, source: Path | None = None) -> Outcome:
    """Start the process, wait for it, and read its scores.

    A training goes on from its last checkpoint. One that a kill has cost the scores of an evaluation begins anew.

    Args:
        run: which.
        recipe: its config.
        place: its folder.
        launcher: starts the process.
        source: the checkpoint to evaluate; None trains.
    """
    resumed = (place.folder / "last_checkpoint").is_file()
    outcome = _attempt(run, recipe, place, launcher, source)
    if resumed and isinstance(outcome, ScoresMissing):
        place.clear()
        outcome = _attempt(run, recipe, place, launcher, source)
    if isinstance(outcome, ScoresMissing):
        return Outcome(FAILED, str(outcome), {}, 0.0)
    if outcome.status == DONE:
        place.tidy()
    return outcome


def _attempt(run: Run, recipe: Recipe, place: RunFolder, launcher: Launcher, source: Path | None):
    """An Outcome, or ScoresMissing."""
    command = ["--config-file", recipe.config]
    command += ["--eval-only"] if source else ["--resume"]
    command += [*recipe.options, "SEED", str(run.seed), "OUTPUT_DIR", str(place.folder.absolute())]
    command += ["MODEL.WEIGHTS", str(source.absolute())] if source else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if run.variant.datasets:
        environment["DETECTRON2_DATASETS"] = str(launcher.root / run.variant.datasets)
    place.begin()
    try:
        code, peak = launcher.call(command, place.log, environment)
    finally:
        place.end()
    if code:
        status, what = (KILLED, f"signal {-code}") if code < 0 else (FAILED, f"exit status {code}")
        return Outcome(status, _last_line(place.log) if code > 0 else what, {}, peak)
    try:
        if source:
            truth = launcher.root / place_of(recipe.cfg.DATASETS.TEST[0], run.variant.datasets)
            return Outcome(DONE, "", {0: score_results(place.folder, recipe.cfg, truth)}, peak)
        return Outcome(DONE, "", training_scores(place.folder, recipe.cfg), peak)
    except ScoresMissing as error:
        return error


def _last_line(log: Path) -> str:
    lines = [line for line in _COLOUR.sub("", log.read_text(errors="replace")).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
