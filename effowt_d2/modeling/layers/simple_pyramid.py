"""ViTDet's simple feature pyramid: p2..p5 from the last map of a plain tower (arXiv 2203.16527)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .levels import LEVELS, levels_to_build
from .masks import apply_mask, valid_mask
from .norms import channel_norm

OWN_LEVELS = ("p2", "p3", "p4", "p5")


class SimplePyramid(nn.Module):
    """Each level scales the one map by itself: deconvolutions up, max-pooling down, then 1x1 and 3x3.

    Args:
        channels: d, of the map.
        out_channels: of each level.
        levels: the requested ones; of p2 to p5 those are made that they need.
    """

    def __init__(self, *, channels: int, out_channels: int = 256, levels: Sequence[str] = tuple(LEVELS)):
        super().__init__()
        self.levels = levels_to_build(levels, OWN_LEVELS)
        half, quarter = channels // 2, channels // 4
        self.up = nn.ModuleDict()
        if "p2" in self.levels:
            steps = _deconv(channels, half), channel_norm(half), nn.GELU(), _deconv(half, quarter)
            self.up["p2"] = nn.Sequential(*steps)
        if "p3" in self.levels:
            self.up["p3"] = nn.Sequential(_deconv(channels, half))
        widths = {"p2": quarter, "p3": half, "p4": channels, "p5": channels}
        self.lateral = nn.ModuleDict({k: _conv_norm(widths[k], out_channels, 1) for k in self.levels})
        self.output = nn.ModuleDict({k: _conv_norm(out_channels, out_channels, 3) for k in self.levels})

    def forward(
        self, x: Tensor, image_sizes: Sequence[tuple[int, int]] | None, canvas: tuple[int, int]
    ) -> dict[str, Tensor]:
        """
        Args:
            x: (B, d, H/16, W/16).
            image_sizes: (height, width) of each image on the canvas, or None if they fill it.
            canvas: (H, W), multiples of 32.

        Returns:
            The levels that are made, at most p2 to p5: (B, out_channels, H/4, W/4) to (B, out_channels, H/32, W/32),
            zero outside the images.
        """
        levels = {}
        for name in self.levels:
            mask = valid_mask(image_sizes, canvas, LEVELS[name], x.device)
            y = self.up[name](x) if name in self.up else x
            if name == "p5":
                # -inf outside, so that the padding never is the maximum
                outside = valid_mask(image_sizes, canvas, 16, x.device)
                y = y if outside is None else y.masked_fill(~outside[:, None], float("-inf"))
                y = F.max_pool2d(y, 2)
                y = y if mask is None else y.masked_fill(~mask[:, None], 0)
            y = apply_mask(self.lateral[name](y), mask)
            levels[name] = apply_mask(self.output[name](y), mask)
        return levels


def _conv_norm(channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, channel_norm(out_channels))


def _deconv(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 2, stride=2)
