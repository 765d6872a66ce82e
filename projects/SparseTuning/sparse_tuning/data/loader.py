"""The training loader of classifiers: ``DATA.LOADER classification``."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, MetadataCatalog
from torch import Tensor

from effowt_d2.data.image_files import check_readable, existing_records
from effowt_d2.data.images import ImageReadError, read_record_image
from effowt_d2.data.loaders import LOADERS, TrainLoader, loader_of_records
from effowt_d2.data.views import to_tensor
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.main_process import on_main_process

from .catalog import load_images, same_classes
from .images import frames_of
from .views import training_view

__all__ = ["ImageMapper", "build_labelled_loader"]

logger = logging.getLogger(__name__)


class ImageMapper:
    """Makes a training sample of a labelled image or clip.

    Args:
        view: from (..., 3, H, W) uint8 to the square that the tower sees; draws from torch's generator.
        image_format: ``BGR`` or ``RGB``.
    """

    def __init__(self, *, view: Callable[[Tensor], Tensor], image_format: str = "RGB"):
        self.view = view
        self.image_format = image_format

    def __call__(self, record: dict) -> dict:
        """
        Args:
            record: ``files``, ``frames`` to take of a clip or 0, ``file_name``, ``image_id``, ``label``.

        Returns:
            ``file_name``, ``image_id``, ``label``; ``image`` (3, S, S) uint8, of a clip (T, 3, S, S).

        Raises:
            ImageReadError: an image cannot be read, or the frames of a clip differ in size.
        """
        frames = record["frames"]
        files = frames_of(record["files"], frames, np.random.rand(frames) if frames else None)
        images = [to_tensor(read_record_image({"file_name": file}, self.image_format)) for file in files]
        sizes = {tuple(image.shape) for image in images}
        if len(sizes) > 1:
            raise ImageReadError(f"clip of {record['file_name']}: its frames differ in size, {sorted(sizes)}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.randint(2**31)))
            image = self.view(torch.stack(images))
        sample = {name: record[name] for name in ("file_name", "image_id", "label")}
        return {**sample, "image": image if frames else image[0]}


@LOADERS.register("classification")
def build_labelled_loader(cfg: CfgNode, mapper: Callable[[dict], dict] | None = None) -> TrainLoader:
    """Batches of samples of :class:`ImageMapper`; this process's part of every batch.

    Args:
        cfg: reads ``DATASETS.TRAIN``, ``INPUT``, ``DATA.SKIP_MISSING``, ``DATALOADER.NUM_WORKERS``,
            ``SOLVER.IMS_PER_BATCH``, ``SEED``, ``IMPORTS``.
        mapper: in place of the one that ``INPUT`` describes.

    Raises:
        ValueError: a dataset is not one of labelled images, is for testing, or has other classes than the first.
        DatasetError, FileNotFoundError, ImageReadError: a dataset cannot be read.
    """
    same_classes(cfg.DATASETS.TRAIN)
    records = [record for name in cfg.DATASETS.TRAIN for record in _records(cfg, name)]
    return loader_of_records(cfg, DatasetFromList(records, copy=False), mapper or _mapper(cfg))


def _records(cfg: CfgNode, name: str) -> list[dict]:
    metadata = MetadataCatalog.get(name)
    if metadata.get("split") == "test":
        raise ValueError(f"DATASETS.TRAIN has '{name}', which is for evaluation")
    images = load_images(name)
    records = [
        {"file_name": item.files[0], "files": item.files, "frames": metadata.get("frames"), "label": item.label}
        for item in images.items
    ]
    records = existing_records(name, records, skip=cfg.DATA.SKIP_MISSING)
    on_main_process(lambda: check_readable(records, cfg.INPUT.FORMAT))
    logger.info("dataset '%s': %d images or clips of %d classes", name, len(records), len(images.classes))
    return [{**record, "image_id": number} for number, record in enumerate(records)]


def _mapper(cfg: CfgNode) -> ImageMapper:
    node = cfg.INPUT.CLASSIFICATION
    with config_keys("INPUT.CLASSIFICATION"):
        view = training_view(node.SIZE, crop=node.TRAIN_CROP, scale=node.SCALE, flip=cfg.INPUT.RANDOM_FLIP)
    return ImageMapper(view=view, image_format=cfg.INPUT.FORMAT)
