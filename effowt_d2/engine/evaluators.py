"""The evaluator of a dataset, by its metadata."""

import os

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator, DatasetEvaluator

from effowt_d2.evaluation import TAOOWEvaluator

__all__ = ["ClassAgnosticCOCOEvaluator", "build_evaluator"]


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


def build_evaluator(cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
    """The evaluator that the dataset's ``evaluator_type`` asks for: "tao_ow" or "coco".

    Results go to ``OUTPUT_DIR/inference/DATASET``.

    Raises:
        ValueError: another type, or none.
    """
    output_dir = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
    kind = MetadataCatalog.get(dataset_name).get("evaluator_type")
    if kind == "tao_ow":
        options = cfg.TEST.TAO_OW
        return TAOOWEvaluator(
            dataset_name,
            output_dir=output_dir,
            max_detections=options.MAX_DETECTIONS,
            subsets=options.SUBSETS,
            workers=options.WORKERS,
        )
    if kind == "coco":
        return ClassAgnosticCOCOEvaluator(dataset_name, output_dir=output_dir)
    raise ValueError(f"dataset '{dataset_name}' has evaluator_type '{kind}'; it can be evaluated as tao_ow or coco")
