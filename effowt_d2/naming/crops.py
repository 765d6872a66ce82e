"""Square crops of single objects for the image tower of a CLIP model."""

import cv2
import numpy as np

__all__ = ["BACKGROUNDS", "clip_boxes", "square_crop"]

BACKGROUNDS = ("keep", "blur")
_BLUR = 0.1  # standard deviation of the blur, as a fraction of the crop's side


def clip_boxes(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """The parts of boxes inside an image: (N, 4) x1, y1, x2, y2 in pixels; outside of it they have no area."""
    return np.clip(boxes, 0, np.array([width, height, width, height], dtype=boxes.dtype))


def square_crop(
    image: np.ndarray, box: np.ndarray, *, size: int, context: float, max_zoom: float, background: str
) -> np.ndarray:
    """A square around a box, scaled to ``size``.

    The square is moved into the image as far as it can be; pixels outside the image are filled by edge replication.

    Args:
        image: (H, W, 3) uint8 BGR.
        box: x1, y1, x2, y2 in pixels, inside the image and of some area.
        size: side of the result in pixels.
        context: the square's side is the longer side of the box times 1 + context.
        max_zoom: the square is larger where it would be magnified more than this; 0: no limit.
        background: what surrounds the box: "keep" (what is there) or "blur" (the same, blurred).

    Returns:
        (size, size, 3) uint8 RGB.
    """
    x1, y1, x2, y2 = box.tolist()
    side = max(x2 - x1, y2 - y1) * (1 + context)
    side = max(side, size / max_zoom if max_zoom else 0)
    side = max(int(round(side)), 1)
    left = _start((x1 + x2) / 2, side, image.shape[1])
    top = _start((y1 + y2) / 2, side, image.shape[0])
    crop = _cut(image, left, top, side)
    if side != size:
        how = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
        crop = cv2.resize(crop, (size, size), interpolation=how)
    if background == "blur":
        inside = (np.array([x1 - left, y1 - top, x2 - left, y2 - top])) * (size / side)
        crop = _blur_outside(crop, inside)
    return np.ascontiguousarray(crop[:, :, ::-1])


def _start(centre: float, side: int, length: int) -> int:
    """First pixel of a stretch around a centre, inside 0..length if it fits."""
    start = int(round(centre - side / 2))
    return min(max(start, 0), length - side) if side <= length else start


def _cut(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][rows - rows[0]][:, columns - columns[0]]


def _blur_outside(crop: np.ndarray, box: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(crop, (0, 0), _BLUR * len(crop))
    x1, y1, x2, y2 = _pixels(box, len(crop))
    blurred[y1:y2, x1:x2] = crop[y1:y2, x1:x2]
    return blurred


def _pixels(box: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Whole pixels of a box, at least one a side."""
    low = np.clip(np.floor(box[:2] + 0.5), 0, size - 1).astype(int)
    high = np.clip(np.floor(box[2:] + 0.5), low + 1, size).astype(int)
    return (*low.tolist(), *high.tolist())
