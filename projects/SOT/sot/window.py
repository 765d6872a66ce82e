"""Choosing one cell of a response map, with a preference for little motion.

Shapes: B targets, a grid of H x W cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from effowt_d2.utils.checks import check_number

__all__ = ["HannProduct", "Selection", "WindowSelection", "hann_window"]


class Selection(NamedTuple):
    """The chosen cells (B,) as row * W + column, their boxes (B, 4) and confidences (B,) in 0..1."""

    cells: Tensor
    boxes: Tensor
    confidences: Tensor


class WindowSelection:
    """Takes the cell with the largest ``(1 - weight) * p + weight * window``, p the sigmoid of the score.

    The window is the outer product of two symmetric Hann windows: 1 in the middle and 0 in the outermost cells.

    Args:
        weight: of the window, from 0 to 1.
    """

    def __init__(self, *, weight: float = 0.45):
        self.weight = check_number("weight", weight, 0.0, 1.0)

    def __call__(self, scores: Tensor, boxes: Tensor) -> Selection:
        """
        Args:
            scores: (B, H, W) logits.
            boxes: (B, H, W, 4) of each cell.

        Returns:
            The chosen cells; the confidence is p there, without the window.
        """
        probabilities = scores.sigmoid()
        window = hann_window(scores.shape[-2:], scores.device)
        preferred = probabilities * (1 - self.weight) + window * self.weight
        cells = preferred.flatten(1).argmax(dim=1)
        each = torch.arange(cells.shape[0], device=cells.device)
        return Selection(cells, boxes.flatten(1, 2)[each, cells], probabilities.flatten(1)[each, cells])


class HannProduct:
    """Takes the cell with the largest product of score and window (AQATrack, EVPTrack).

    The window is a Hann window without its zeros: the outermost cells count a little.
    """

    def __call__(self, scores: Tensor, boxes: Tensor) -> Selection:
        """
        Args:
            scores: (B, H, W) in 0..1.
            boxes: (B, H, W, 4) of each cell.

        Returns:
            The chosen cells; the confidence is the score there, without the window.
        """
        cells = self.responses(scores).flatten(1).argmax(dim=1)
        each = torch.arange(len(cells), device=cells.device)
        return Selection(cells, boxes.flatten(1, 2)[each, cells], scores.flatten(1)[each, cells])

    @staticmethod
    def responses(scores: Tensor) -> Tensor:
        """(B, H, W) the products."""
        rows, columns = scores.shape[-2:]
        return scores * hann_window((rows + 2, columns + 2), scores.device)[1:-1, 1:-1]


def hann_window(grid: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """(H, W) float32: the outer product of symmetric Hann windows."""
    sides = [torch.hann_window(side, periodic=False, device=device) for side in grid]
    return torch.outer(*sides)
