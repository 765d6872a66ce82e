"""The evaluator of a dataset: its metadata have an ``evaluator_type``, which is a name in a registry."""

import os
from collections.abc import Callable

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator

from effowt_d2.evaluation import TAOOWEvaluator
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


@EVALUATORS.register("tao_ow")
def _tao_ow(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """OWTA, D.Re and A.Acc of tracks; reads ``TEST.TAO_OW``."""
    options = cfg.TEST.TAO_OW
    return TAOOWEvaluator(
        dataset_name,
        output_dir=output_dir,
        max_detections=options.MAX_DETECTIONS,
        subsets=options.SUBSETS,
        workers=options.WORKERS,
    )


@EVALUATORS.register("coco")
def _coco(cfg: CfgNode, dataset_name: str, output_dir: str) -> DatasetEvaluator:
    """Class-agnostic AP and AR of boxes."""
    return ClassAgnosticCOCOEvaluator(dataset_name, output_dir=output_dir)


def find_evaluator(dataset_name: str) -> Builder:
    """What builds the evaluator of a dataset; nothing is loaded.

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
