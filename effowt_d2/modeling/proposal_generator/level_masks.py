"""Which cells of each pyramid level hold a pixel of their image."""

from collections.abc import Sequence

from torch import Tensor

from effowt_d2.modeling.layers.masks import valid_mask


def level_masks(
    maps: Sequence[Tensor], strides: Sequence[int], image_sizes: Sequence[tuple[int, int]] | None
) -> list[Tensor | None]:
    """The valid area of each map.

    Args:
        maps: (B, C, Hi, Wi) per level.
        strides: pixels per cell of each level.
        image_sizes: (height, width) in pixels of each image; None: no image is padded.

    Returns:
        Per level (B, Hi, Wi) bool, or None where every cell is valid.
    """
    masks = []
    for x, stride in zip(maps, strides):
        # from the map, not from the image canvas: the coarsest level may round its size up
        canvas = (x.shape[-2] * stride, x.shape[-1] * stride)
        masks.append(valid_mask(image_sizes, canvas, stride, x.device))
    return masks
