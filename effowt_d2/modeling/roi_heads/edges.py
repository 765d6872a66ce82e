"""Prepares maps for RoI pooling."""

from collections.abc import Sequence

from torch import Tensor

from effowt_d2.modeling.layers.masks import extend_edges
from effowt_d2.modeling.proposal_generator.level_masks import level_masks


def poolable_maps(
    features: dict[str, Tensor], names: Sequence[str], strides: Sequence[int], image_sizes: list[tuple[int, int]]
) -> list[Tensor]:
    """The named maps with each image's border repeated over its padding.

    RoI pooling of a box inside the image then reads the same on every canvas.

    Args:
        features: (B, C, Hi, Wi) maps by name.
        names: the levels to pool from.
        strides: pixels per cell of each of them.
        image_sizes: (height, width) in pixels of each image.

    Returns:
        The maps, in the order of the names.
    """
    maps = [features[name] for name in names]
    return extend_edges(maps, level_masks(maps, strides, image_sizes))
