"""ViTDet's simple feature pyramid: p2..p6 from the last map of a plain tower (arXiv 2203.16527)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .masks import apply_mask, valid_mask
from .norms import channel_norm

LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}


class SimplePyramid(nn.Module):
    """Each level scales the one map by itself: deconvolutions up, max-pooling down, then 1x1 and 3x3.

    Args:
        channels: d, of the map.
        out_channels: of each level.
    """

    def __init__(self, *, channels: int, out_channels: int):
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.up = nn.ModuleDict(
            {
                "p2": nn.Sequential(_deconv(channels, half), channel_norm(half), nn.GELU(), _deconv(half, quarter)),
                "p3": nn.Sequential(_deconv(channels, half)),
            }
        )
        widths = {"p2": quarter, "p3": half, "p4": channels, "p5": channels}
        self.lateral = nn.ModuleDict({k: _conv_norm(width, out_channels, 1) for k, width in widths.items()})
        self.output = nn.ModuleDict({k: _conv_norm(out_channels, out_channels, 3) for k in widths})

    def forward(
        self, x: Tensor, image_sizes: Sequence[tuple[int, int]] | None, canvas: tuple[int, int]
    ) -> dict[str, Tensor]:
        """
        Args:
            x: (B, d, H/16, W/16).
            image_sizes: (height, width) of each image on the canvas, or None if they fill it.
            canvas: (H, W), multiples of 32.

        Returns:
            p2..p6, (B, out_channels, H/4, W/4) to (B, out_channels, H/64, W/64), zero outside the images.
        """
        masks = {k: valid_mask(image_sizes, canvas, stride, x.device) for k, stride in LEVELS.items()}
        levels = {}
        for name, mask in masks.items():
            y = self.up[name](x) if name in self.up else x
            if name == "p5":
                # -inf outside, so that the padding never is the maximum
                outside = valid_mask(image_sizes, canvas, 16, x.device)
                y = y if outside is None else y.masked_fill(~outside[:, None], float("-inf"))
                y = F.max_pool2d(y, 2)
                y = y if mask is None else y.masked_fill(~mask[:, None], 0)
            y = apply_mask(self.lateral[name](y), mask)
            levels[name] = apply_mask(self.output[name](y), mask)
        levels["p6"] = levels["p5"][..., ::2, ::2]
        return levels


def _conv_norm(channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, channel_norm(out_channels))


def _deconv(channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out_channels, 2, stride=2)
