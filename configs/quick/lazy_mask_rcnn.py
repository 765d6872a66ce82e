"""Detectron2's stock Mask R-CNN as a LazyConfig, with the small embedded tower in place of its ResNet.

    from detectron2.config import LazyConfig, instantiate
    model = instantiate(LazyConfig.load("configs/quick/lazy_mask_rcnn.py").model)

Optimizer, data and training loop are those of your project; docs/plugin.md has more.
"""

from detectron2 import model_zoo

from effowt_d2.modeling.backbone import lazy_effowt_backbone

model = model_zoo.get_config("common/models/mask_rcnn_fpn.py").model

model.backbone = lazy_effowt_backbone()
model.backbone.cfg.MODEL.VLM.NAME = "ShapesCLIP-S-16"
model.backbone.cfg.MODEL.VLM.WEIGHTS = "effowt://ShapesCLIP-S-16"
model.backbone.cfg.MODEL.VLM.CANVAS = 16
