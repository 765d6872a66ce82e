"""A region of the image that tracks must be in."""

from pathlib import Path

import cv2
import numpy as np

__all__ = ["RegionMask", "read_mask"]


class RegionMask:
    """Keeps boxes that lie in the white part of a mask by at least half of their area.

    Args:
        inside: (H, W) bool; it is scaled to the size of a frame.
    """

    def __init__(self, inside: np.ndarray) -> None:
        self._inside = inside.astype(np.uint8)
        self._sums = np.zeros((1, 1))

    def keep(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(N,) bool: which boxes are kept.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 in pixels of the frame; what is outside of the frame doesn't count.
            size: width and height of the frame.
        """
        width, height = size
        if self._sums.shape != (height + 1, width + 1):
            self._sums = cv2.integral(cv2.resize(self._inside, size, interpolation=cv2.INTER_NEAREST)).astype(np.int64)
        low = np.clip(np.floor(boxes[:, :2]), 0, [width - 1, height - 1]).astype(int)
        high = np.clip(np.ceil(boxes[:, 2:]), low + 1, [width, height]).astype(int)
        (x1, y1), (x2, y2) = low.T, high.T
        white = self._sums[y2, x2] - self._sums[y1, x2] - self._sums[y2, x1] + self._sums[y1, x1]
        return 2 * white >= (x2 - x1) * (y2 - y1)


def read_mask(path: str | Path) -> RegionMask:
    """A mask from an image: what is brighter than middle grey is looked at.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or nothing in it is white.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"mask {path}: no such file")
    # not by its name, which may hold any bytes
    grey = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE) if path.stat().st_size else None
    if grey is None:
        raise ValueError(f"mask {path} can't be read as an image")
    if grey.max() < 128:
        raise ValueError(f"mask {path} is empty: no pixel is brighter than middle grey")
    return RegionMask(grey > 127)
