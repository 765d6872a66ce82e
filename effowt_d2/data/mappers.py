"""Maps dataset records to model inputs: two views of a still image, or a frame."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_number
from effowt_d2.utils.registry import Registry

from .images import read_record_image
from .views import build_view_augmentations, resize_frame, to_tensor

__all__ = ["MAPPERS", "FrameMapper", "TwoViewMapper", "find_mapper"]

MAPPERS: Registry[Callable[[CfgNode], Callable[[dict], dict]]] = Registry("training mappers", argument="mapper")
"""Classes or functions that make, from a config, what maps a record to a training sample; ``DATA.MAPPER`` names one.

A mapper that draws random numbers takes them from ``numpy.random``, which is seeded for every sample.
"""


def find_mapper(cfg: CfgNode) -> Callable[[CfgNode], Callable[[dict], dict]]:
    """The factory of the mapper named by ``DATA.MAPPER``.

    Raises:
        ValueError: it is not registered.
    """
    with config_keys("DATA"):
        return MAPPERS.get(cfg.DATA.MAPPER)


@MAPPERS.register("two_views")
class TwoViewMapper:
    """Makes two independently augmented views of a still image; the same object has the same id in both.

    Args:
        augmentations: of one view; sampled per view.
        image_format: a format of ``detectron2.data.detection_utils.read_image``.
        min_box_side: boxes with a side shorter than this many pixels of the view are skipped of it.
    """

    @configurable
    def __init__(
        self, *, augmentations: Sequence[T.Augmentation], image_format: str = "BGR", min_box_side: float = 2.0
    ):
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.min_box_side = check_number("min_box_side", min_box_side)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        with config_keys("DATA"):
            min_box_side = check_number("min_box_side", cfg.DATA.MIN_BOX_SIDE)
        return {
            "augmentations": build_view_augmentations(cfg),
            "image_format": cfg.INPUT.FORMAT,
            "min_box_side": min_box_side,
        }

    def __call__(self, record: dict) -> dict:
        """Map one record.

        Args:
            record: Detectron2's, with ``annotations``; annotations that are ``iscrowd`` are skipped. Ids are
                their ``instance_id`` or ``track_id``, or their places where one has neither. The second view is of
                the record's ``pair``, another frame of its video, where it has one.

        Returns:
            ``file_name, image_id, height, width``; ``image`` (C, H, W) uint8, ``instances`` (``gt_boxes``,
            ``gt_classes`` all 0, ``gt_ids``) and ``complete`` of the first view; and ``reference`` with these three of
            the second. ``complete`` is the record's, by default true: all objects are annotated.

        Raises:
            ImageReadError: the image cannot be read.
        """
        record = dict(record)
        pair = record.pop("pair", record)
        source = self._read(record)
        sample = {name: record[name] for name in ("file_name", "image_id", "height", "width") if name in record}
        sample.update(self._view(*source), complete=record.get("complete", True))
        other = source if pair is record else self._read(pair)
        sample["reference"] = {**self._view(*other), "complete": pair.get("complete", True)}
        return sample

    def view(self, record: dict) -> dict:
        """One view alone: its ``image`` and ``instances``, see :meth:`__call__`."""
        return self._view(*self._read(record))

    def _read(self, record: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image, boxes and ids."""
        return read_record_image(dict(record), self.image_format), *_boxes_and_ids(record["annotations"])

    def _view(self, image: np.ndarray, boxes: np.ndarray, ids: np.ndarray) -> dict:
        view = T.AugInput(image)
        transforms = self.augmentations(view)
        instances = Instances(view.image.shape[:2])
        instances.gt_boxes = Boxes(torch.from_numpy(transforms.apply_box(boxes).astype(np.float32)))
        instances.gt_boxes.clip(instances.image_size)
        instances.gt_classes = torch.zeros(len(ids), dtype=torch.int64)
        instances.gt_ids = torch.from_numpy(ids)
        sides = instances.gt_boxes.tensor[:, 2:] - instances.gt_boxes.tensor[:, :2]
        # a box cut to nothing has sides of 0, which no threshold lets through
        seen = (sides >= self.min_box_side).all(dim=1) & (sides > 0).all(dim=1)
        return {"image": to_tensor(view.image), "instances": instances[seen]}


def _boxes_and_ids(annotations: Sequence[dict]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) boxes as x0, y0, x1, y1 and (N,) ids, all different."""
    objects = [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]
    boxes = [BoxMode.convert(list(o["bbox"]), o["bbox_mode"], BoxMode.XYXY_ABS) for o in objects]
    ids = [o.get("instance_id", o.get("track_id", -1)) for o in objects]
    if len(set(ids)) < len(ids) or any(number < 0 for number in ids):
        ids = range(len(objects))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(ids, dtype=np.int64)


class FrameMapper:
    """Scales a frame for inference, and passes on where it belongs.

    Args:
        min_size: length of the shorter side in pixels; 0 keeps the frame's size.
        max_size: greatest length of the longer side.
        image_format: a format of ``detectron2.data.detection_utils.read_image``.
    """

    @configurable
    def __init__(self, *, min_size: int = 800, max_size: int = 1333, image_format: str = "BGR"):
        self.min_size = min_size
        self.max_size = max_size
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {
            "min_size": cfg.INPUT.MIN_SIZE_TEST,
            "max_size": cfg.INPUT.MAX_SIZE_TEST,
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, record: dict) -> dict:
        """Map one record.

        Returns:
            The record without its annotations, with ``image`` (C, H, W) uint8; ``height`` and ``width`` are
            those of the file.

        Raises:
            ImageReadError: the image cannot be read.
        """
        frame = {name: value for name, value in record.items() if name != "annotations"}
        image = read_record_image(frame, self.image_format)
        frame["image"] = resize_frame(image, self.min_size, self.max_size)
        return frame
