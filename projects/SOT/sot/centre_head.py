"""The head of AQATrack and EVPTrack: maps of scores, sizes and offsets, of which one cell gives the box.

Shapes: B search crops, a grid of H x W cells, C channels. Boxes are x0, y0, x1, y1 in units of the crop: 0..1 is inside.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count

__all__ = ["LEAST", "CentreHead", "CentreMaps"]

LEAST = 1e-4
"""Scores and sizes lie between it and 1 less it; beyond, they have no gradient."""

_LAYERS = 4
_TOWERS = {3: {"score": 1, "offset": 2, "size": 2}, 2: {"score": 1, "box": 4}}


class CentreMaps(NamedTuple):
    """What the head gives, float32.

    Attributes:
        scores: (B, H, W) in 0..1.
        sizes: (B, 2, H, W) widths and heights, in units of the crop.
        offsets: (B, 2, H, W) x and y of the centre from the cell's upper left corner, in cells.
    """

    scores: Tensor
    sizes: Tensor
    offsets: Tensor

    def boxes(self) -> Tensor:
        """(B, H, W, 4) the box that each cell names."""
        rows, columns = self.scores.shape[1:]
        y = torch.arange(rows, device=self.scores.device, dtype=torch.float32).view(-1, 1)
        x = torch.arange(columns, device=self.scores.device, dtype=torch.float32)
        centre_x, centre_y = (x + self.offsets[:, 0]) / columns, (y + self.offsets[:, 1]) / rows
        centre, half = torch.stack([centre_x, centre_y], dim=-1), self.sizes.permute(0, 2, 3, 1) / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def best_boxes(self) -> Tensor:
        """(B, 4) those of the cells with the highest scores, the first one of equal ones."""
        cells = self.scores.flatten(1).argmax(dim=1)
        return self.boxes().flatten(1, 2)[torch.arange(len(cells), device=cells.device), cells]


class CentreHead(nn.Module):
    """Towers of convolutions of 3 x 3 over the search tokens, each narrowing by half from layer to layer.

    Args:
        channels: C.
        width: channels behind the first layer of a tower.
        towers: 3 for scores, offsets and sizes; 2 for scores and boxes, offsets before sizes.

    Raises:
        ValueError: another number of towers, or a width that cannot be halved three times.
    """

    def __init__(self, *, channels: int, width: int = 256, towers: int = 3):
        super().__init__()
        check_count("channels", channels)
        if towers not in _TOWERS:
            raise bad_argument("towers", f"must be one of {sorted(_TOWERS)}, got {towers!r}")
        if check_count("width", width) % 2 ** (_LAYERS - 1):
            raise bad_argument("width", f"must be a multiple of {2 ** (_LAYERS - 1)}, got {width}")
        widths = [channels, *(width // 2**n for n in range(_LAYERS))]
        self.towers = nn.ModuleDict({name: _tower(widths, out) for name, out in _TOWERS[towers].items()})
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor) -> CentreMaps:
        """
        Args:
            x: (B, C, H, W).
        """
        maps = {name: tower(x).float() for name, tower in self.towers.items()}
        offsets, sizes = maps["box"].chunk(2, dim=1) if "box" in maps else (maps["offset"], maps["size"])
        scores, sizes = (logits.sigmoid().clamp(LEAST, 1 - LEAST) for logits in (maps["score"][:, 0], sizes))
        return CentreMaps(scores, sizes, offsets)


def _tower(widths: list[int], out_channels: int) -> nn.Sequential:
    layers = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in zip(widths, widths[1:])
    ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], out_channels, 1))
