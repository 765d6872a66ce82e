"""Frames and parts of frames as JPEGs that fit into a page. Images are BGR uint8 (H, W, 3)."""

import base64

import cv2
import numpy as np

__all__ = ["crop_box", "decode", "encode", "shrink"]


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """The image with its longest side at most ``longest`` pixels; never enlarged."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def encode(image: np.ndarray, quality: int) -> str:
    """The image as a base64 JPEG."""
    return base64.b64encode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]).decode()


def decode(jpeg: str) -> np.ndarray:
    """The image of a base64 JPEG."""
    return cv2.imdecode(np.frombuffer(base64.b64decode(jpeg), np.uint8), cv2.IMREAD_COLOR)


def crop_box(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of the image inside a box x1, y1, x2, y2, as a view; empty where they don't meet."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(box[:2]), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(box[2:]), 0, [width, height]).astype(int)
    return image[low[1] : high[1], low[0] : high[0]]
