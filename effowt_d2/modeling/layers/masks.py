"""Valid areas of padded maps.

A batch pads its images to one canvas. A mask (B, H, W), true on the image, goes along with every map, so that what
is computed on the image does not depend on the padding. ``None`` stands for "all of it is image" and costs nothing.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def valid_mask(
    image_sizes: Sequence[tuple[int, int]] | None, canvas: tuple[int, int], stride: int, device: torch.device
) -> Tensor | None:
    """Mask of the cells of a map that hold a pixel of the image.

    Args:
        image_sizes: (height, width) in pixels of each image on the canvas.
        canvas: (height, width) of the canvas in pixels, a multiple of the stride.
        stride: pixels per cell.

    Returns:
        (B, H / stride, W / stride) bool, or None where every cell is valid.
    """
    if image_sizes is None:
        return None
    height, width = canvas[0] // stride, canvas[1] // stride
    cells = [(-(-int(h) // stride), -(-int(w) // stride)) for h, w in image_sizes]
    if all(c == (height, width) for c in cells):
        return None
    rows = torch.tensor([c[0] for c in cells], device=device)[:, None, None]
    columns = torch.tensor([c[1] for c in cells], device=device)[:, None, None]
    y = torch.arange(height, device=device)[None, :, None]
    x = torch.arange(width, device=device)[None, None, :]
    return (y < rows) & (x < columns)


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero what lies outside. x (B, C, H, W), mask (B, H, W)."""
    return x if mask is None else x * mask.unsqueeze(1)


def masked_resize(x: Tensor, mask: Tensor | None, size: tuple[int, int]) -> Tensor:
    """Resize R(x * m) / R(m): cells outside the image take no part, so its border looks like the canvas' border.

    Enlarges bilinearly, shrinks by averaging whole cells.

    Args:
        x: (B, C, H, W).
        mask: (B, H, W) or None.
        size: (height, width) of the result.
    """
    if x.shape[-2:] == tuple(size):
        return apply_mask(x, mask)
    if mask is None:
        return _resize(x, size)
    valid = mask.unsqueeze(1).to(x.dtype)
    return _resize(x * valid, size) / _resize(valid, size).clamp(min=1e-6)


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = x.shape[-2:]
    if size[0] >= height and size[1] >= width:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    if height % size[0] or width % size[1]:
        raise ValueError(f"a map of {height} x {width} cells does not shrink evenly to {size[0]} x {size[1]}")
    kernel = (height // size[0], width // size[1])
    return F.avg_pool2d(x, kernel)


def extend_edges(features: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
    """Repeat the image's last row and column over the padding, as edge replication.

    RoI pooling reads up to one cell past the border of a map. This makes it read the same there for an image alone
    and for the same image on a larger canvas.
    """
    return [f if m is None else _extend(f, m) for f, m in zip(features, masks)]


def _extend(x: Tensor, mask: Tensor) -> Tensor:
    b, _, height, width = x.shape
    rows, columns = mask.any(2).sum(1), mask.any(1).sum(1)
    y = torch.minimum(torch.arange(height, device=x.device)[None], (rows - 1).clamp(min=0)[:, None])
    c = torch.minimum(torch.arange(width, device=x.device)[None], (columns - 1).clamp(min=0)[:, None])
    batch = torch.arange(b, device=x.device)[:, None, None]
    return x.movedim(1, -1)[batch, y[:, :, None], c[:, None, :]].movedim(-1, 1)
