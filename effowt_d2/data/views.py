"""Random training views of an image."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T

__all__ = ["AtLeastOnePixel", "build_view_augmentations", "resize_frame", "seeded", "to_tensor"]


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, C) array as a (C, H, W) tensor."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class AtLeastOnePixel(T.Augmentation):
    """A resize that leaves every side at least one pixel, however long and thin the image is.

    Args:
        resize: an augmentation whose transform may be a ``ResizeTransform``.
    """

    def __init__(self, resize: T.Augmentation):
        super().__init__()
        self.resize = resize

    def get_transform(self, image: np.ndarray):
        transform = self.resize.get_transform(image)
        if not isinstance(transform, T.ResizeTransform):
            return transform
        # plain numbers: some resizes of Detectron2 v0.6 give numpy's, which Pillow refuses
        height, width = (max(1, int(side)) for side in (transform.new_h, transform.new_w))
        return T.ResizeTransform(*image.shape[:2], height, width, transform.interp)


def resize_frame(image: np.ndarray, min_size: int, max_size: int) -> torch.Tensor:
    """Scale a frame for inference, in an evaluation as in a demo.

    Args:
        image: (H, W, C) uint8.
        min_size: length of the shorter side in pixels; 0 keeps the frame's size.
        max_size: greatest length of the longer side.

    Returns:
        (C, h, w) uint8.
    """
    resize = AtLeastOnePixel(T.ResizeShortestEdge([min_size, min_size], max_size))
    return to_tensor(resize.get_transform(image).apply_image(image))


def build_view_augmentations(cfg: CfgNode) -> list[T.Augmentation]:
    """The augmentations of one training view, from ``INPUT`` and ``DATA``: crop, scale, flip, colours.

    Raises:
        ValueError: an option has a value that doesn't exist.
    """
    augmentations: list[T.Augmentation] = []
    if cfg.INPUT.CROP.ENABLED:
        augmentations.append(T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE))
    augmentations += _scaling(cfg)
    flip = cfg.INPUT.RANDOM_FLIP
    if flip not in ("none", "horizontal", "vertical"):
        raise ValueError(f"INPUT.RANDOM_FLIP is '{flip}'; it can be none, horizontal or vertical")
    if flip != "none":
        augmentations.append(T.RandomFlip(horizontal=flip == "horizontal", vertical=flip == "vertical"))
    return augmentations + _colours(cfg.DATA.COLOR_JITTER)


def _scaling(cfg: CfgNode) -> list[T.Augmentation]:
    if cfg.DATA.SCALING == "shortest_edge":
        sizes, sampling = cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING
        return [AtLeastOnePixel(T.ResizeShortestEdge(sizes, cfg.INPUT.MAX_SIZE_TRAIN, sampling))]
    if cfg.DATA.SCALING == "lsj":
        size, (low, high) = cfg.DATA.LSJ_SIZE, cfg.DATA.LSJ_SCALE
        # not padded to the square: the model masks the valid area, and grey would count as image
        crop = T.FixedSizeCrop((size, size), pad=False)
        return [AtLeastOnePixel(T.ResizeScale(low, high, size, size)), crop]
    raise ValueError(f"DATA.SCALING is '{cfg.DATA.SCALING}'; it can be shortest_edge or lsj")


def _colours(strength: float) -> list[T.Augmentation]:
    if not 0 <= strength < 1:
        raise ValueError(f"DATA.COLOR_JITTER is {strength}; it must be in [0, 1)")
    if strength == 0:
        return []
    return [kind(1 - strength, 1 + strength) for kind in (T.RandomBrightness, T.RandomContrast, T.RandomSaturation)]


@contextlib.contextmanager
def seeded(numbers: Sequence[int]) -> Iterator[None]:
    """Within it, Detectron2's augmentations draw from a stream given by ``numbers``; afterwards as before.

    Args:
        numbers: non-negative, below 2**32.
    """
    state = np.random.get_state()
    np.random.seed(numbers)
    try:
        yield
    finally:
        np.random.set_state(state)
