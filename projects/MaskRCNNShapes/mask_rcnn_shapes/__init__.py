"""Instance masks on ShapesOW: a dataset, a mapper and an evaluator. Importing this package registers them."""

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.evaluation import COCOEvaluator

from effowt_d2.data import MAPPERS
from effowt_d2.engine import EVALUATORS

__all__ = ["coco_masks", "one_view", "register_masks"]

EVERY = 4
"""Of the val videos' frames every fourth is evaluated: neighbours differ little."""


def register_masks(videos: str) -> None:
    """Register ``{videos}_masks``: frames of a video dataset as still images, all objects of one class.

    It names no COCO file, so Detectron2's evaluator writes one from the records.
    """
    name = f"{videos}_masks"
    DatasetCatalog.register(name, lambda: DatasetCatalog.get(videos)[::EVERY])
    MetadataCatalog.get(name).set(thing_classes=["object"], evaluator_type="coco_masks")


@MAPPERS.register("one_view")
def one_view(cfg: CfgNode) -> DatasetMapper:
    """Detectron2's mapper for training: one view, with masks under ``MODEL.MASK_ON``."""
    return DatasetMapper(cfg, is_train=True)


@EVALUATORS.register("coco_masks")
def coco_masks(cfg: CfgNode, dataset_name: str, output_dir: str) -> COCOEvaluator:
    """COCO AP of boxes and masks."""
    # the fast implementation is compiled, and not every Detectron2 has it
    return COCOEvaluator(dataset_name, output_dir=output_dir, use_fast_impl=False)


register_masks("shapes_ow_val")
