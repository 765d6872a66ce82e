"""ShapesOW in miniature, as datasets ``small_train`` and ``small_val``."""

import contextlib
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images, load_shapes_ow_videos
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit

TRAIN = ImageSplit(count=12, size=128, objects=(1, 3), radii=(14.0, 26.0), unlabelled=0.0)
VAL = VideoSplit(videos=2, frames=6, size=128, objects=(2, 3), radii=(14.0, 26.0))


@contextlib.contextmanager
def registered(folder: Path):
    """The two datasets, rendered below ``folder`` when first used; forgotten on leaving."""
    DatasetCatalog.register("small_train", lambda: load_shapes_ow_images(TRAIN, folder / "train"))
    MetadataCatalog.get("small_train").set(thing_classes=["object"], json_file=str(folder / "train/annotations.json"))
    DatasetCatalog.register("small_val", lambda: load_shapes_ow_videos(VAL, folder / "val"))
    MetadataCatalog.get("small_val").set(json_file=str(folder / "val/annotations_8.json"), evaluator_type="tao_ow")
    try:
        yield folder
    finally:
        for name in ("small_train", "small_val"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
