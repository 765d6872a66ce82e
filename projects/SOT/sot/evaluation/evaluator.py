"""One-pass evaluation as Detectron2 runs it: after training or alone, over many processes."""

import dataclasses
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from effowt_d2.engine import EVALUATORS
from effowt_d2.formats import DatasetError
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.files import write_atomically
from sot.data.catalog import load_sequences
from sot.data.sequence import TargetSequence

from .conventions import CONVENTIONS
from .one_pass import Report, evaluate_one_pass, format_table
from .plots import plot_curves
from .rules import find_rules
from .submissions import WRITERS, write_text

__all__ = ["OnePassEvaluator"]

logger = logging.getLogger(__name__)


class OnePassEvaluator(DatasetEvaluator):
    """Collects one box per frame, saves them, and scores them where the truth is known.

    Files written: ``boxes/TRACKER/SEQUENCE.txt``; the archive for the dataset's server where it has one; with scores
    ``one_pass.json`` and the plots ``success.png``, ``precision.png`` and ``normalised.png``.

    Args:
        dataset_name: registered by :func:`sot.data.catalog.register_sequences`.
        output_dir: folder for the results.
        tracker: name of the tracker in files and legends.
        convention: name of one, see :data:`sot.evaluation.CONVENTIONS`; "auto": the one that the dataset is published by.
        plots: draw the curves.
        distributed: gather from all processes.

    Raises:
        ValueError: an unknown convention, or no dataset of sequences.
        DatasetError: the dataset cannot be read, or a sequence begins without a box; names it.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        output_dir: str,
        tracker: str = "tracker",
        convention: str = "auto",
        plots: bool = True,
        distributed: bool = True,
    ):
        metadata = MetadataCatalog.get(dataset_name)
        self._name = dataset_name
        self._sequences = load_sequences(dataset_name)
        _check_starts(self._sequences)
        self._convention = metadata.get("convention") if convention == "auto" else convention
        CONVENTIONS.get(self._convention)
        self._rules = metadata.get("rules")
        self._submission = metadata.get("submission")
        self._folder = Path(output_dir)
        self._tracker = tracker
        self._plots = plots
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Forget all boxes."""
        self._found: list[tuple[int, int, list[float], float]] = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Take in the boxes of some frames.

        Args:
            inputs: per frame a dict with ``video_id`` and ``frame_index``.
            outputs: per frame a dict with ``instances``, whose ``pred_boxes`` is one box in pixels of the file, and
                ``seconds`` that the frame took, if they are known.

        Raises:
            ValueError: another number of boxes than one.
        """
        for frame, output in zip(inputs, outputs):
            boxes = output["instances"].pred_boxes.tensor
            if len(boxes) != 1:
                name = self._sequences[frame["video_id"]].name
                raise ValueError(
                    f"sequence '{name}', frame {frame['frame_index']}: one-pass evaluation takes 1 box, got {len(boxes)}"
                )
            box = boxes[0].detach().double().cpu().tolist()
            self._found.append((frame["video_id"], frame["frame_index"], box, output.get("seconds", 0.0)))

    def evaluate(self) -> OrderedDict:
        """Save the boxes of all processes, then score them.

        Returns:
            ``{"one_pass": {"AUC": percent, ...}}``; empty on other than the main process, without boxes, and where the
            truth is withheld.

        Raises:
            DatasetError: a frame has no box, or two; names the sequence.
        """
        ranks = comm.gather(self._found, dst=0) if self._distributed else [self._found]
        if not comm.is_main_process() and self._distributed:
            return OrderedDict()
        found = [entry for rank in ranks for entry in rank]
        if not found:
            logger.warning("[OnePassEvaluator] no frame of %s was processed", self._name)
            return OrderedDict()
        boxes, seconds = _assemble(self._sequences, found)
        self._save(boxes, seconds)
        if not all(sequence.annotated for sequence in self._sequences):
            logger.info("[OnePassEvaluator] the truth of %s is withheld: nothing to score", self._name)
            return OrderedDict()
        report = evaluate_one_pass(self._sequences, boxes, self._convention, self._rules)
        self._publish(report)
        return OrderedDict(one_pass=report.headline)

    def _save(self, boxes: Mapping[str, np.ndarray], seconds: Mapping[str, np.ndarray]) -> None:
        folder = write_text(self._folder / "boxes", self._tracker, boxes, find_rules(self._rules))
        logger.info("[OnePassEvaluator] saved the boxes of %d sequences to %s", len(boxes), folder)
        if self._submission:
            archive = WRITERS[self._submission](self._folder / self._submission, self._tracker, boxes, seconds)
            logger.info("[OnePassEvaluator] for the server of %s: %s", self._name, archive)

    def _publish(self, report: Report) -> None:
        text = json.dumps(dataclasses.asdict(report), indent=1)
        write_atomically(self._folder / "one_pass.json", lambda stream: stream.write(text.encode()))
        if self._plots:
            plot_curves({self._tracker: report}, self._folder)
        logger.info("[OnePassEvaluator] %s: %s", self._name, format_table(report))


def _check_starts(sequences: Sequence[TargetSequence]) -> None:
    for sequence in sequences:
        if not sequence.valid[0]:
            raise DatasetError(
                f"sequence '{sequence.name}' begins without a box to follow, with {sequence.boxes[0].tolist()}"
            )


def _assemble(sequences: Sequence[TargetSequence], found: Sequence[tuple]) -> tuple[dict, dict]:
    """Boxes (N, 4) and seconds (N,) by the sequences' names."""
    boxes = {video: np.full((len(sequence), 4), np.nan) for video, sequence in enumerate(sequences)}
    seconds = {video: np.zeros(len(sequence)) for video, sequence in enumerate(sequences)}
    times = {video: np.zeros(len(sequence), dtype=int) for video, sequence in enumerate(sequences)}
    for video, index, box, took in found:
        boxes[video][index], seconds[video][index] = box, took
        times[video][index] += 1
    for video, sequence in enumerate(sequences):
        wrong = np.flatnonzero(times[video] != 1)
        if len(wrong):
            raise DatasetError(
                f"sequence '{sequence.name}': {len(wrong)} of {len(sequence)} frames do not have one result, the first is "
                f"frame {wrong[0]} with {times[video][wrong[0]]}"
            )
    names = [sequence.name for sequence in sequences]
    return dict(zip(names, boxes.values())), dict(zip(names, seconds.values()))


@EVALUATORS.register("one_pass")
def _one_pass(cfg: CfgNode, dataset_name: str, output_dir: str) -> OnePassEvaluator:
    """Success, precision and normalised precision; reads ``TEST.SOT`` and ``MODEL.META_ARCHITECTURE``."""
    with config_keys("TEST.SOT"):
        return OnePassEvaluator(
            dataset_name,
            output_dir=output_dir,
            tracker=cfg.MODEL.META_ARCHITECTURE,
            convention=cfg.TEST.SOT.CONVENTION,
            plots=cfg.TEST.SOT.PLOTS,
        )
