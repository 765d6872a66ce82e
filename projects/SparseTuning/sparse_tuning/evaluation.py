"""Top-1, FLOPs and throughput, as Detectron2's evaluators give them."""

import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from torch import Tensor

from effowt_d2.engine import EVALUATORS
from effowt_d2.utils.files import write_atomically

from .classifier import number_of_classes
from .cost import count_macs
from .data.catalog import classes_of, same_classes

__all__ = ["ClassificationEvaluator", "accuracies"]

logger = logging.getLogger(__name__)


class _Found(NamedTuple):
    key: tuple[str, int]  # what it is, "image" or "video", and its id
    label: int
    logits: list[float]
    seconds: float


def accuracies(logits: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    """In percent: ``top1`` and ``top5`` of all images, and ``per_class``, the mean of the classes' own top-1.

    Args:
        logits: (N, K); of equal ones the first class counts as the higher.
        labels: (N,).
        classes: K; those without an image are left out of ``per_class``.
    """
    order = logits.argsort(dim=1, descending=True, stable=True)
    hits = order[:, : min(5, classes)] == labels[:, None]
    first = hits[:, 0].double()
    counts = torch.bincount(labels, minlength=classes)
    of_class = torch.zeros(classes, dtype=torch.float64).index_add(0, labels, first)
    present = counts > 0
    return {
        "top1": 100 * float(first.mean()),
        "top5": 100 * float(hits.any(1).double().mean()),
        "per_class": 100 * float((of_class[present] / counts[present]).mean()),
    }


class ClassificationEvaluator(DatasetEvaluator):
    """Collects logits, saves them, and scores them. A clip's are the mean of its frames'.

    Files written: ``predictions.pth``, a dict of ``ids`` (N,), ``logits`` (N, K) and ``labels`` (N,), and
    ``classification.json``, the results.

    Args:
        dataset_name: registered by :func:`sparse_tuning.data.catalog.register_images`.
        classes: K.
        output_dir: folder for the results.
        macs: gives the multiply-adds of an image; None: they are not reported.
        distributed: gather from all processes.

    Raises:
        ValueError: the dataset has another number of classes.
        DatasetError, FileNotFoundError: the dataset cannot be read.
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        classes: int,
        output_dir: str,
        macs: Callable[[], int] | None = None,
        distributed: bool = True,
    ):
        there = len(classes_of(dataset_name))
        if there != classes:
            raise ValueError(f"dataset '{dataset_name}' has {there} classes, the model {classes}")
        self._name = dataset_name
        self._classes = classes
        self._folder = Path(output_dir)
        self._macs = macs
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._found: list[_Found] = []

    def process(self, inputs: Sequence[Mapping], outputs: Sequence[Mapping]) -> None:
        """Take in some images, or frames of clips.

        Args:
            inputs: records, with ``label`` and ``image_id`` or ``video_id``.
            outputs: per image a dict with ``logits`` (K,), and maybe the ``seconds`` that it took.
        """
        for record, output in zip(inputs, outputs):
            kind = "video" if "video_id" in record else "image"
            key = kind, record[f"{kind}_id"]
            self._found.append(_Found(key, record["label"], output["logits"].tolist(), output.get("seconds", 0.0)))

    def evaluate(self) -> OrderedDict:
        """Save the logits of all processes, then score them.

        Returns:
            ``{"classification": {"top1": percent, "top5": percent, "per_class": percent, "images_per_second": of one
            process's model, "GMACs": of an image}}``; empty on other than the main process, and without images.
        """
        ranks = comm.gather(self._found, dst=0) if self._distributed else [self._found]
        if not comm.is_main_process() and self._distributed:
            return OrderedDict()
        found = [entry for rank in ranks for entry in rank]
        if not found:
            logger.warning("[ClassificationEvaluator] no image of %s was processed", self._name)
            return OrderedDict()
        keys, logits, labels = _joined(found)
        self._warn_missing(len(found))
        results = accuracies(logits, labels, self._classes)
        seconds = sum(entry.seconds for entry in found)
        if seconds:
            results["images_per_second"] = len(found) / seconds
        if self._macs is not None:
            results["GMACs"] = self._macs() / 1e9
        self._save(keys, logits, labels, results)
        return OrderedDict(classification=results)

    def _warn_missing(self, count: int) -> None:
        total = len(DatasetCatalog.get(self._name))
        if count != total:
            logger.warning("[ClassificationEvaluator] %d of %d images of %s were scored", count, total, self._name)

    def _save(self, keys: list[int], logits: Tensor, labels: Tensor, results: Mapping[str, float]) -> None:
        saved = {"ids": torch.tensor(keys), "logits": logits, "labels": labels}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / "predictions.pth", lambda stream: torch.save(saved, stream))
        text = json.dumps(dict(results), indent=1)
        write_atomically(self._folder / "classification.json", lambda stream: stream.write(text.encode()))
        logger.info("[ClassificationEvaluator] %s: %s", self._name, {k: round(v, 2) for k, v in results.items()})


def _joined(found: Sequence[_Found]) -> tuple[list[int], Tensor, Tensor]:
    """Ids, logits (N, K) and labels (N,) of images and clips, in the order of their ids."""
    together: dict[tuple[str, int], list[_Found]] = {}
    for entry in found:
        together.setdefault(entry.key, []).append(entry)
    order = sorted(together)
    logits = [torch.tensor([entry.logits for entry in together[key]]).mean(0) for key in order]
    labels = [together[key][0].label for key in order]
    return [number for _, number in order], torch.stack(logits), torch.tensor(labels)


@EVALUATORS.register("classification")
def _classification(cfg: CfgNode, dataset_name: str, output_dir: str) -> ClassificationEvaluator:
    """Reads ``MODEL``, ``INPUT.CLASSIFICATION`` and the classes of ``DATASETS.TRAIN``, where it is there."""
    classes = number_of_classes(cfg)
    try:
        same_classes([*cfg.DATASETS.TRAIN[:1], dataset_name])
    except FileNotFoundError as error:
        logger.warning("the classes of %s are not compared with those trained on: %s", dataset_name, error)
    return ClassificationEvaluator(
        dataset_name, classes=classes, output_dir=output_dir, macs=lambda: count_macs(cfg, classes)
    )
