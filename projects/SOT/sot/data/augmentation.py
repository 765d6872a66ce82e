"""Flips and colours of training crops. Crops are (3, S, S) float32 RGB in 0..1."""

from collections.abc import Callable

import numpy as np
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from effowt_d2.utils.checks import check_number

__all__ = ["CropAugmentation"]

_SOLARISE = 128 / 255


class CropAugmentation:
    """For each crop a flip and a change of colours of its own, then one of three effects, the same for all of a sample:
    grey, solarised at 128, or blurred (LoRAT, arXiv 2403.05231).

    Args:
        flip: probability of a horizontal flip.
        colours: brightness, contrast and saturation are each multiplied by 1 - colours to 1 + colours, in random order.
        effects: whether one of the three effects is applied.
    """

    def __init__(self, *, flip: float = 0.5, colours: float = 0.4, effects: bool = True):
        self.flip = check_number("flip", flip, 0, 1)
        self.colours = check_number("colours", colours, 0, 1)
        self.effects = effects

    def __call__(self, crops: list[Tensor], boxes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            crops: of one sample.
            boxes: (4,) of the target in pixels of each crop.

        Returns:
            Changed crops and boxes.
        """
        flipped = [self._flipped(crop, box) for crop, box in zip(crops, boxes)]
        crops = [self._coloured(crop) for crop, _ in flipped]
        if self.effects:
            effect = _EFFECTS[np.random.randint(len(_EFFECTS))]()
            crops = [effect(crop) for crop in crops]
        return crops, [box for _, box in flipped]

    def _flipped(self, crop: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
        if np.random.random() >= self.flip:
            return crop, box
        width = crop.shape[-1]
        return crop.flip(-1), torch.stack([width - box[2], box[1], width - box[0], box[3]])

    def _coloured(self, crop: Tensor) -> Tensor:
        if not self.colours:
            return crop
        changes = [TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation]
        for place in np.random.permutation(len(changes)):
            crop = changes[place](crop, np.random.uniform(1 - self.colours, 1 + self.colours))
        return crop


def _grey() -> Callable[[Tensor], Tensor]:
    return lambda crop: TF.rgb_to_grayscale(crop, num_output_channels=3)


def _solarised() -> Callable[[Tensor], Tensor]:
    return lambda crop: TF.solarize(crop, _SOLARISE)


def _blurred() -> Callable[[Tensor], Tensor]:
    radius = np.random.uniform(0.1, 2.0)
    side = 2 * int(np.ceil(3 * radius)) + 1
    return lambda crop: TF.gaussian_blur(crop, [side, side], [radius, radius])


_EFFECTS = (_grey, _solarised, _blurred)
