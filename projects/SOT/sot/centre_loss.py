"""The loss of AQATrack and EVPTrack: a heat map around the target's centre, and the box of the best cell.

Shapes: B search crops, a grid of H x W cells. Boxes are x0, y0, x1, y1 in units of the crop.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from effowt_d2.utils.checks import check_choice, check_number

from .centre_head import CentreMaps
from .losses import mean_over_processes, overlaps

__all__ = ["RADII", "CentreLoss", "centre_heatmaps", "focal_loss"]

_OVERLAP = 0.7


class CentreLoss:
    """The focal loss of the scores, and 1 - GIoU and the distance of corners of the boxes with the highest scores.

    Sizes and offsets have a gradient at that one cell of a crop only.

    Args:
        giou_weight, l1_weight: of the two terms of the boxes; that of the scores is 1.
        radius: of the heat map, a name of :data:`RADII`.

    Raises:
        ValueError: a weight below 0, or an unknown name.
    """

    def __init__(self, *, giou_weight: float = 2.0, l1_weight: float = 5.0, radius: str = "released"):
        self.giou_weight = check_number("giou_weight", giou_weight)
        self.l1_weight = check_number("l1_weight", l1_weight)
        self.radius = check_choice("radius", radius, RADII)

    def __call__(self, maps: CentreMaps, boxes: Tensor) -> dict[str, Tensor]:
        """
        Args:
            maps: of :class:`sot.centre_head.CentreHead`.
            boxes: (B, 4) true boxes, which may reach beyond the crop.

        Returns:
            ``loss_score``, ``loss_giou`` and ``loss_l1``, means over the batch; the first is divided by the number of centres
            that lie in their crop.
        """
        heat = centre_heatmaps(boxes, maps.scores.shape[1:], self.radius)
        true, found = boxes.float().clamp(0, 1), maps.best_boxes()
        _, giou = overlaps(found, true)
        return {
            "loss_score": focal_loss(maps.scores, heat),
            "loss_giou": self.giou_weight * (1 - giou).mean(),
            "loss_l1": self.l1_weight * (found - true).abs().mean(),
        }


def focal_loss(scores: Tensor, heat: Tensor) -> Tensor:
    """CenterNet's: cells whose heat is 1 should score 1, others 0, the less so the hotter they are.

    Args:
        scores: (B, H, W), above 0 and below 1.
        heat: (B, H, W) in 0..1.
    """
    positive = heat == 1
    hits = (1 - scores[positive]).square() * scores[positive].log()
    cold = torch.where(positive, 0, (1 - heat) ** 4)
    misses = cold * scores.square() * (1 - scores).log()
    return -(hits.sum() + misses.sum()) / mean_over_processes(positive.sum()).clamp(min=1)


def centre_heatmaps(boxes: Tensor, grid: tuple[int, int], radius: str = "released") -> Tensor:
    """Gaussians around the centres of boxes.

    Args:
        boxes: (B, 4), which may reach beyond the crop. A centre that rounds (half to even) to a cell beside the grid gives
            its tail alone, without a cell of 1.
        grid: (rows, columns).
        radius: a name of :data:`RADII`, the reach of a Gaussian; its deviation is (2 * radius + 1) / 6.

    Returns:
        (B, rows, columns) float32.
    """
    cells = boxes.double() * torch.tensor([grid[1], grid[0]] * 2, device=boxes.device)
    # a half is one in float32, as in the release
    centre = ((cells[:, :2] + cells[:, 2:]) / 2).float().round().double()
    reach = RADII[radius](cells[:, 2:] - cells[:, :2]).clamp(min=0).floor().view(-1, 1, 1)
    x = torch.arange(grid[1], device=boxes.device) - centre[:, 0].view(-1, 1, 1)
    y = torch.arange(grid[0], device=boxes.device).view(-1, 1) - centre[:, 1].view(-1, 1, 1)
    heat = torch.exp(-(x**2 + y**2) / (2 * ((2 * reach + 1) / 6) ** 2))
    near = (x.abs() <= reach) & (y.abs() <= reach) & (heat >= torch.finfo(heat.dtype).eps)
    return torch.where(near, heat, 0).float()


def _released_radius(sides: Tensor) -> Tensor:
    """CornerNet's rule with its roots as its code has them: (-b + sqrt(b^2 - 4ac)) / 2."""
    return _least_radius(sides, lambda a, b, c: (b + (b**2 - 4 * a * c).sqrt()) / 2, 1.0)


def _exact_radius(sides: Tensor) -> Tensor:
    """The largest shift of both corners at which boxes still overlap by 0.7, whichever way they move."""
    return _least_radius(sides, lambda a, b, c: (b + (b**2 - 4 * a * c).sqrt()) / (2 * a), -1.0)


def _least_radius(sides: Tensor, root: Callable[[float, Tensor, Tensor], Tensor], sign: float) -> Tensor:
    """Radii (B,) of sides (B, 2): the least root of three quadratics, for boxes that are shifted, shrunk and grown.

    ``sign`` is -1 for the smaller root of the first two, which turns the sign of b and of the result.
    """
    total, area = sides.sum(dim=1), sides.prod(dim=1)
    shifted = sign * root(1.0, sign * total, area * (1 - _OVERLAP) / (1 + _OVERLAP))
    shrunk = sign * root(4.0, sign * 2 * total, area * (1 - _OVERLAP))
    grown = root(4 * _OVERLAP, -2 * _OVERLAP * total, -area * (1 - _OVERLAP))
    return torch.stack([shifted, shrunk, grown]).amin(dim=0)


RADII: dict[str, Callable[[Tensor], Tensor]] = {"released": _released_radius, "exact": _exact_radius}
"""Radii (B,) in cells of boxes with sides (B, 2), by the name of the rule."""
