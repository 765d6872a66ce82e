"""The evaluator of a dataset: its metadata have an ``evaluator_type``, which is a name in a registry."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator
from detectron2.utils.registry import Registry

from effowt_d2.evaluation import TAOOWEvaluator

__all__ = ["EVALUATOR_REGISTRY", "ClassAgnosticCOCOEvaluator", "build_evaluator", "check_evaluator_type"]

EVALUATOR_REGISTRY = Registry("evaluator")
"""Functions ``(cfg, dataset_name, output_dir) -> DatasetEvaluator``, each under its own name as ``evaluator_type``.

An evaluator is built once before training, so its constructor is where missing or wrong ground truth is found.
"""


class ClassAgnosticCOCOEvaluator(COCOEvaluator):
    """COCO's box AP and AR with every category counted as one, which is what the model detects.

    Args:
        dataset_name: name in Detectron2's catalogs, in COCO format.
        output_dir: folder for the results.
    """

    def __init__(self, dataset_name: str, *, output_dir: str):
        # the fast implementation is compiled, and not every Detectron2 has it
        super().__init__(dataset_name, tasks=("bbox",), output_dir=output_dir, use_fast_impl=False)
        ground_truth = self._coco_api.dataset
        for annotation in ground_truth.get("annotations", ()):
            annotation["category_id"] = 0
        ground_truth["categories"] = [{"id": 0, "name": "object"}]
        self._coco_api.createIndex()
        metadata = self._metadata.as_dict()
        metadata.pop("thing_dataset_id_to_contiguous_id", None)
        metadata.update(name=f"{dataset_name} class-agnostic", thing_classes=["object"])
        self._metadata = type(self._metadata)(**metadata)


@EVALUATOR_REGISTRY.register()
def tao_ow(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """OWTA, D.Re and A.Acc of tracks; reads ``TEST.TAO_OW``."""
    options = cfg.TEST.TAO_OW
    return TAOOWEvaluator(
        dataset_name,
        output_dir=output_dir,
        max_detections=options.MAX_DETECTIONS,
        subsets=options.SUBSETS,
        workers=options.WORKERS,
    )


@EVALUATOR_REGISTRY.register()
def coco(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """Class-agnostic AP and AR of boxes."""
    return ClassAgnosticCOCOEvaluator(dataset_name, output_dir=output_dir)


def check_evaluator_type(dataset_name: str) -> str:
    """The ``evaluator_type`` of a dataset; nothing is loaded.

    Raises:
        ValueError: it is not registered, or the dataset has none.
    """
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind not in EVALUATOR_REGISTRY:
        known = ", ".join(sorted(name for name, _ in EVALUATOR_REGISTRY))
        raise ValueError(f"dataset '{dataset_name}' has evaluator_type {kind!r}; registered are {known}")
    return kind


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator that the dataset's ``evaluator_type`` names in :data:`EVALUATOR_REGISTRY`.

    Results go to ``OUTPUT_DIR/inference/DATASET``.

    Raises:
        ValueError: it is not registered, or the dataset has none.
    """
    build = EVALUATOR_REGISTRY.get(check_evaluator_type(dataset_name))
    return build(cfg, dataset_name, os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name))
