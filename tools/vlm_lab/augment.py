"""Changes of a whole batch of images at once, on the device that they are on, the same for the same step.

Shapes: B images (B, S, S, 3) uint8 RGB.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["change_colours", "cut_and_paste", "step_generator"]

_STRENGTH = 0.4  # most that brightness, contrast and saturation are scaled by
_GREY = torch.tensor([0.299, 0.587, 0.114])


def step_generator(seed: int, step: int) -> torch.Generator:
    """Random numbers of a step, so that a run can be continued."""
    return torch.Generator().manual_seed((seed << 32) + step)


def change_colours(images: Tensor, random: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of each image, scaled at random; as floats in [0, 255]."""
    bright, contrast, colour = (
        (1 + _STRENGTH * (2 * torch.rand(len(images), 1, 1, 1, generator=random) - 1)).to(images.device)
        for _ in range(3)
    )
    x = images.float() * bright
    grey = (x * _GREY.to(x.device)).sum(dim=-1, keepdim=True)
    mean = grey.mean(dim=(1, 2), keepdim=True)
    x = colour * x + (1 - colour) * grey
    return (contrast * x + (1 - contrast) * mean).clamp(0, 255)


def cut_and_paste(images: Tensor, random: torch.Generator) -> tuple[Tensor, float]:
    """A rectangle of each image is replaced by that of the image before it (CutMix, arXiv 1905.04899).

    Returns:
        The images, and the fraction of the area that is still their own.
    """
    side = images.shape[1]
    area, across, down = torch.rand(3, generator=random).tolist()
    length = round(side * area**0.5)
    left, top = round(across * (side - length)), round(down * (side - length))
    images = images.clone()
    part = images[:, top : top + length, left : left + length]
    part.copy_(part.roll(1, dims=0))
    return images, 1 - (length / side) ** 2
