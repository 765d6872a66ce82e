"""The evaluator of a dataset: its metadata have an ``evaluator_type``, which is a name in a registry."""

import json
import os
import tempfile
from collections.abc import Callable

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_dict
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator

from effowt_d2.data.labels import configured_groups
from effowt_d2.evaluation import TAOOWEvaluator
from effowt_d2.formats import Dataset, read_dataset, read_registered
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.registry import Registry

__all__ = ["EVALUATORS", "ClassAgnosticCOCOEvaluator", "build_evaluator", "find_evaluator"]

Builder = Callable[[CfgNode, str, str], DatasetEvaluator]
EVALUATORS: Registry[Builder] = Registry("evaluators", argument="evaluator_type")
"""Functions ``(cfg, dataset_name, output_dir) -> DatasetEvaluator`` by ``evaluator_type``.

An evaluator is built once before training, so its constructor is where missing or wrong ground truth is found.
"""


class ClassAgnosticCOCOEvaluator(COCOEvaluator):
    """COCO's box AP and AR with every category counted as one, which is what the model detects.

    Args:
        dataset_name: name in Detectron2's catalogs; its metadata has a ``json_file``, or it is scored by its records.
        output_dir: folder for the results.
        skip_missing: score without the images whose files are missing.

    Raises:
        DatasetError, FileNotFoundError: the ground truth is wrong or missing.
    """

    def __init__(self, dataset_name: str, *, output_dir: str, skip_missing: bool = False):
        truth = _class_agnostic(_ground_truth(dataset_name, skip_missing))
        name = f"{dataset_name} class-agnostic"
        # Detectron2's class takes a name and a file; both are there while it is built
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "ground_truth.json")
            with open(file, "w", encoding="utf-8") as stream:
                json.dump(truth, stream)
            MetadataCatalog.pop(name, None)
            MetadataCatalog.get(name).set(json_file=file, thing_classes=["object"])
            try:
                # the fast implementation is compiled, and not every Detectron2 has it
                super().__init__(name, tasks=("bbox",), output_dir=output_dir, use_fast_impl=False)
            finally:
                MetadataCatalog.pop(name)


def _ground_truth(name: str, skip_missing: bool) -> Dataset:
    if MetadataCatalog.get(name).get("json_file"):
        return read_registered(name, skip_missing=skip_missing)
    return read_dataset(convert_to_coco_dict(name), format="coco", file=f"dataset '{name}'")


def _class_agnostic(dataset: Dataset) -> dict:
    content = dataset.content()
    for annotation in content.get("annotations", ()):
        annotation["category_id"] = 0
    return {**content, "categories": [{"id": 0, "name": "object"}]}


@EVALUATORS.register("tao_ow")
def _tao_ow(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """OWTA, D.Re and A.Acc of tracks; reads ``TEST.TAO_OW`` and ``DATA``."""
    options = cfg.TEST.TAO_OW
    return TAOOWEvaluator(
        dataset_name,
        output_dir=output_dir,
        max_detections=options.MAX_DETECTIONS,
        subsets=options.SUBSETS,
        workers=options.WORKERS,
        groups=configured_groups(cfg),
        skip_missing=cfg.DATA.SKIP_MISSING,
    )


@EVALUATORS.register("coco")
def _coco(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """Class-agnostic AP and AR of boxes."""
    return ClassAgnosticCOCOEvaluator(dataset_name, output_dir=output_dir, skip_missing=cfg.DATA.SKIP_MISSING)


@EVALUATORS.register("auto")
def _auto(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """That of the file: ``tao_ow`` for videos, ``coco`` for still images."""
    return (_tao_ow if read_registered(dataset_name).is_video else _coco)(cfg, dataset_name, output_dir)


def find_evaluator(dataset_name: str) -> Builder:
    """The factory of a dataset's evaluator; nothing is loaded.

    Raises:
        ValueError: the dataset's ``evaluator_type`` is not registered, or it has none.
    """
    with config_keys("", evaluator_type=f"dataset '{dataset_name}'"):
        return EVALUATORS.get(MetadataCatalog.get(dataset_name).get("evaluator_type"))


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator that the dataset's ``evaluator_type`` names in :data:`EVALUATORS`.

    Results go to ``OUTPUT_DIR/inference/DATASET``.

    Raises:
        ValueError: it is not registered, or the dataset has none.
    """
    build = find_evaluator(dataset_name)
    return build(cfg, dataset_name, os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name))
