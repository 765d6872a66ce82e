"""Search crops that are not centred on the target, as those of a tracker are not."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from effowt_d2.utils.checks import check_count, check_number
from sot.crops import ContextCrop
from sot.maps import clip_boxes, map_boxes

__all__ = ["CropJitter", "draw_noise"]


def draw_noise() -> np.ndarray:
    """(4,): two numbers of a normal distribution with variance 1, two from -1 to 1."""
    return np.concatenate([np.random.standard_normal(2), np.random.uniform(-1, 1, 2)])


class CropJitter:
    """Moves and scales the map of a crop at random.

    The scale of each axis is divided by ``exp(scale * n)``, n normal; the crop is shifted along each axis by
    ``u * shift`` times the mean side of the target in the crop, u uniform from -1 to 1. A draw that leaves too little of
    the target in the crop is repeated.

    Args:
        scale: standard deviation of the logarithm of the scales.
        shift: largest shift, in sides of the target.
        min_side: the shortest side in pixels of the crop that the part of the target in it may have.
        attempts: draws.
    """

    def __init__(self, *, scale: float = 0.25, shift: float = 3.0, min_side: float = 10.0, attempts: int = 12):
        self.scale = check_number("scale", scale)
        self.shift = check_number("shift", shift)
        self.min_side = check_number("min_side", min_side)
        self.attempts = check_count("attempts", attempts)

    def __call__(
        self, policy: ContextCrop, box: Tensor, draw: Callable[[], np.ndarray] = draw_noise
    ) -> tuple[Tensor, bool]:
        """
        Args:
            policy: of the crop.
            box: (4,) float64 in pixels of the image.
            draw: gives the noise of a draw.

        Returns:
            The map (2, 2) of the first draw that serves, or of the last one; and whether it serves.
        """
        base = policy.maps(box)
        for _ in range(self.attempts):
            requested = self._moved(base, box, torch.as_tensor(draw(), dtype=base.dtype), policy.size)
            inside = clip_boxes(map_boxes(requested, box), (policy.size, policy.size))
            sides = inside[2:] - inside[:2]
            if sides.min() >= self.min_side and sides.min() > 0:
                return requested, True
        return requested, False

    def _moved(self, base: Tensor, box: Tensor, noise: Tensor, size: int) -> Tensor:
        scale = base[0] / torch.exp(self.scale * noise[:2])
        centre, sides = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * scale
        return torch.stack([scale, size / 2 - scale * centre + noise[2:] * self.shift * sides.sum() / 2])
