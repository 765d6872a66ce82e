"""The head of LoRAT: two small networks that look at one token each, and name a score and a box.

Shapes: B search crops, a grid of H x W cells, C channels. Boxes are x0, y0, x1, y1 in units of the crop: 0..1 is inside.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from effowt_d2.utils.checks import check_count

__all__ = ["AnchorFreeHead", "HeadOutput", "cell_centres"]


class HeadOutput(NamedTuple):
    """``scores`` (B, H, W) logits and ``boxes`` (B, H, W, 4), both float32."""

    scores: Tensor
    boxes: Tensor


class MLP(nn.Module):
    """Linear layers with GELU between them; ``layers.N`` is the name of each, as in the released files."""

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        sizes = [channels] * 3 + [out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        for layer in self.layers:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = nn.functional.gelu(layer(x))
        return self.layers[-1](x)


class AnchorFreeHead(nn.Module):
    """Scores and boxes of search tokens, by MLPs of three layers (Tracking Meets LoRA, arXiv 2403.05231).

    The box MLP gives the distances of a cell's centre to the four sides, between 0 and one crop width, so the area of
    a box is never 0.

    Args:
        channels: C.
    """

    def __init__(self, *, channels: int):
        super().__init__()
        check_count("channels", channels)
        self.cls_mlp = MLP(channels, 1)
        self.reg_mlp = MLP(channels, 4)

    def forward(self, tokens: Tensor) -> HeadOutput:
        """
        Args:
            tokens: (B, H, W, C) of the search crop.
        """
        scores, distances = self.cls_mlp(tokens)[..., 0], self.reg_mlp(tokens)
        return HeadOutput(scores.float(), decode(distances.float()))


def decode(distances: Tensor) -> Tensor:
    """Boxes (B, H, W, 4) of the box MLP's output before the sigmoid, left, top, right, bottom, same shape."""
    left, top, right, bottom = distances.sigmoid().unbind(dim=-1)
    x, y = cell_centres(distances.shape[1:3], distances.device).unbind(dim=-1)
    return torch.stack([x - left, y - top, x + right, y + bottom], dim=-1)


def cell_centres(grid: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """(H, W, 2) x and y of the cells' centres in units of the crop."""
    rows, columns = ((torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side for side in grid)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)
