"""Datasets, mappers and samplers. Importing this package registers the datasets, without reading any.

For training on COCO take Detectron2's own ``coco_2017_train``: the loader makes every category 0 ("object") and
leaves crowds out, so the known classes need no dataset of their own.
"""

from effowt_d2.data.datasets.shapes_ow import register_all_shapes_ow
from effowt_d2.data.datasets.tao_ow import load_tao_format, register_all_tao_ow, register_tao_format

from .images import ImageReadError
from .loaders import LOADERS, build_train_loader, build_video_test_loader
from .mappers import MAPPERS, FrameMapper, TwoViewMapper

__all__ = [
    "LOADERS",
    "MAPPERS",
    "FrameMapper",
    "ImageReadError",
    "TwoViewMapper",
    "build_train_loader",
    "build_video_test_loader",
    "load_tao_format",
    "register_tao_format",
]

register_all_shapes_ow()
register_all_tao_ow()
