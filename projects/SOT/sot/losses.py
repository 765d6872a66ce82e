"""The loss of LoRAT: scores that learn how well their own box fits, and the overlap of the boxes of the target's cells.

Shapes: B search crops, a grid of H x W cells. Boxes are x0, y0, x1, y1 in units of the crop.
"""

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor

from effowt_d2.utils.checks import check_number

from .cells import touched_cells
from .head import HeadOutput

__all__ = ["OverlapLoss", "SearchTargets", "overlaps"]

_LEAST_AREA = 1e-6


class SearchTargets:
    """What the cells of search crops should give.

    Args:
        boxes: (B, 4) true boxes in pixels of the crop, cut to it here.
        grid: (rows, columns).
        size: (height, width) of the crop in pixels.

    Attributes:
        boxes: (B, 4) float32 in units of the crop.
        positive: (B, H, W) bool: the cells that the box touches.
    """

    def __init__(self, boxes: Tensor, grid: tuple[int, int], size: tuple[int, int]):
        sides = boxes.new_tensor([size[1], size[0]] * 2)
        self.positive = touched_cells(boxes, grid, size)
        self.boxes = (boxes.clamp(min=0).minimum(sides) / sides).float()


class OverlapLoss:
    """Binary cross-entropy towards the overlap (IoU) of each cell's own box, and 1 - GIoU of the positive cells' boxes.

    Both are sums over the batch, divided by the number of positive cells, which is averaged over the processes.

    Args:
        box_weight: of the term of the boxes.
    """

    def __init__(self, *, box_weight: float = 1.0):
        self.box_weight = check_number("box_weight", box_weight)

    def __call__(self, output: HeadOutput, targets: SearchTargets) -> dict[str, Tensor]:
        """``loss_score`` and ``loss_box``; without a positive cell the second is 0, with a gradient of 0."""
        positive = targets.positive
        true = targets.boxes[:, None, None].expand_as(output.boxes)[positive]
        predicted = output.boxes[positive]
        iou, giou = overlaps(predicted, true)
        wanted = torch.zeros_like(output.scores)
        wanted[positive] = iou.detach()
        count = mean_over_processes(positive.sum()).clamp(min=1)
        # 0 * sum(): the boxes take part even if none is positive, as several processes expect of every parameter
        boxes = (1 - giou).sum() + 0 * output.boxes.sum()
        scores = F.binary_cross_entropy_with_logits(output.scores, wanted, reduction="sum")
        return {"loss_score": scores / count, "loss_box": self.box_weight * boxes / count}


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and GIoU (N,) of boxes (N, 4) with others of the same number, areas of at least 1e-6 below the fractions."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (others[:, 2:] - others[:, :2]).prod(dim=1)
    low, high = boxes[:, :2].maximum(others[:, :2]), boxes[:, 2:].minimum(others[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=1)
    union = (area - common).clamp(min=_LEAST_AREA)
    corners = boxes[:, 2:].maximum(others[:, 2:]) - boxes[:, :2].minimum(others[:, :2])
    hull = corners.prod(dim=1).clamp(min=_LEAST_AREA)
    iou = common / union
    return iou, iou - (hull - union) / hull


def mean_over_processes(value: Tensor) -> Tensor:
    """A number averaged over the processes of the run, float32."""
    value = value.float()
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(value)
        value = value / comm.get_world_size()
    return value
