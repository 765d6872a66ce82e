"""Fits frames into a video of one size."""

import cv2
import numpy as np

__all__ = ["even_side", "fit_image"]

# libvpx aborts the process on frames of a few pixels
_SMALLEST_SIDE = 16


def even_side(side: int) -> int:
    """The side of a video, of which encoders want an even number of pixels, and not too few."""
    return max(_SMALLEST_SIDE, side + side % 2)


def fit_image(image: np.ndarray, first: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """An image scaled to the size of the first frame and filled up to the video's; both (width, height)."""
    height, width = image.shape[:2]
    if (width, height) != first:
        scale = min(first[0] / width, first[1] / height)
        new = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = cv2.copyMakeBorder(image, 0, first[1] - new[1], 0, first[0] - new[0], cv2.BORDER_CONSTANT)
    if first != size:
        below, right = size[1] - first[1], size[0] - first[0]
        image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    return image
