"""The videos that a tool measures on: their ground truth, and their frames."""

from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.data.images import read_record_image
from effowt_d2.evaluation.ground_truth import load_ground_truth
from effowt_d2.formats import read_registered

__all__ = ["LabelledVideos", "chosen_dataset"]


def chosen_dataset(cfg: CfgNode, name: str | None = None) -> str:
    """A name in Detectron2's catalogs: the given one, else the first of ``DATASETS.TEST``.

    Raises:
        ValueError: there is none, or it isn't registered.
    """
    name = name or next(iter(cfg.DATASETS.TEST), None)
    if name is None:
        raise ValueError("DATASETS.TEST is empty: name a dataset with --dataset")
    if name not in DatasetCatalog.list():
        raise ValueError(f"--dataset {name!r} is not registered; there are {', '.join(DatasetCatalog.list())}")
    return name


class LabelledVideos:
    """A registered dataset of videos in any format.

    Args:
        name: in Detectron2's catalogs.
        frames: they will be read, so their names must be there.

    Attributes:
        file: of the annotations.
        gt: the ground truth.
        categories: names by id.

    Raises:
        DatasetError, FileNotFoundError: see :func:`effowt_d2.formats.read_registered`.
    """

    def __init__(self, name: str, *, frames: bool = False) -> None:
        DatasetCatalog.get(name)  # rendered on first use
        dataset = read_registered(name, images=frames)
        self.file, self.categories = dataset.file, dataset.category_names
        self.gt = load_ground_truth(dataset)
        self._root = Path(MetadataCatalog.get(name).get("image_root", ""))
        self._images = {image.id: image for image in dataset.images}

    def frame(self, place: int) -> np.ndarray:
        """(H, W, 3) uint8 BGR, by its place in the ground truth.

        Raises:
            ImageReadError: the file is missing or damaged.
        """
        image = self._images[int(self.gt.image_ids[place])]
        return read_record_image({"file_name": str(self._root / image.file_name)}, "BGR")
