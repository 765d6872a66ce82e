"""ShapesOW in miniature, as datasets by name, each rendered when it is first used.

Programs that tests start find the folder in $SMALL_SHAPES.
"""

import contextlib
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.data.datasets.shapes_ow import load_shapes_ow_images, load_shapes_ow_videos
from effowt_d2.data.shapes_ow import ImageSplit, VideoSplit

SMALL = dict(size=128, radii=(14.0, 26.0))
MINI = dict(size=96, objects=(2, 3), radii=(10.0, 20.0))
IMAGES = {
    "small_train": ImageSplit(count=12, objects=(1, 3), unlabelled=0.0, **SMALL),
    "mini_train": ImageSplit(count=7, unlabelled=0.0, **MINI),
}
VIDEOS = {
    "small_val": VideoSplit(videos=2, frames=6, objects=(2, 3), **SMALL),
    "mini_val": VideoSplit(videos=3, frames=4, **MINI),
    # less than two processes can share
    "one_video": VideoSplit(videos=1, frames=4, **MINI),
}


def register(folder: Path) -> None:
    """Register all of them below ``folder/NAME``, in place of those registered before."""
    forget()
    for name, split in IMAGES.items():
        _add(name, load_shapes_ow_images, split, folder / name, "annotations.json", evaluator_type="coco")
    for name, split in VIDEOS.items():
        _add(name, load_shapes_ow_videos, split, folder / name, "annotations_8.json", evaluator_type="tao_ow")


def _add(name, load, split, folder, annotations, **metadata) -> None:
    DatasetCatalog.register(name, lambda: load(split, folder))
    files = {"json_file": str(folder / annotations), "image_root": str(folder)}
    MetadataCatalog.get(name).set(thing_classes=["object"], **files, **metadata)


def forget() -> None:
    for name in (*IMAGES, *VIDEOS):
        for catalog in (DatasetCatalog, MetadataCatalog):
            if name in catalog.list():
                catalog.remove(name)


@contextlib.contextmanager
def registered(folder: Path):
    """Register them; they are forgotten on leaving."""
    register(folder)
    try:
        yield folder
    finally:
        forget()
