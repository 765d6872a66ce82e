"""Cluttered procedural backgrounds: smooth muted colour fields, fine grain, and curves that are no object."""

from __future__ import annotations

import cv2
import numpy as np


def background(rng: np.random.Generator, *, height: int, width: int) -> np.ndarray:
    """Draw a background.

    Args:
        rng: source of randomness.
        height, width: size in pixels.

    Returns:
        (height, width, 3) float32 RGB in 0..255.
    """
    # everything soft is drawn at half size: a quarter of the time, and nothing in it is finer than two pixels
    small = (height + 1) // 2, (width + 1) // 2
    field = _gradient(rng, *small)
    for cells in (3, 7, 16):
        field += _cloud(rng, *small, cells=cells, strength=float(rng.uniform(8, 34)))
    _patches(rng, field)
    field = np.clip(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), 0, 255)
    _curves(rng, field)
    if rng.random() < 0.5:
        field = cv2.GaussianBlur(field, (0, 0), float(rng.uniform(0.6, 1.6)))
    return field


def _muted(rng: np.random.Generator) -> np.ndarray:
    """A colour of low saturation: grey of any lightness, tinted."""
    return np.clip(rng.uniform(45, 205) + rng.normal(0, 20, 3), 0, 255).astype(np.float32)


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    corners = np.stack([_muted(rng) for _ in range(4)]).reshape(2, 2, 3)
    return cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)


def _cloud(rng: np.random.Generator, height: int, width: int, *, cells: int, strength: float) -> np.ndarray:
    tint = np.float32(1) + rng.normal(0, 0.25, 3).astype(np.float32)
    grid = rng.standard_normal((cells, cells), dtype=np.float32) * np.float32(strength)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)[..., None] * tint


def _patches(rng: np.random.Generator, field: np.ndarray) -> None:
    """Soft-edged irregular areas of another tint, from thresholded noise, as walls and ground have."""
    height, width = field.shape[:2]
    for _ in range(rng.integers(1, 4)):
        cells = int(rng.integers(3, 9))
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        level = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight = np.clip((level - np.float32(rng.uniform(0.3, 1.0))) * np.float32(6), 0, 1)
        field += (weight * np.float32(rng.uniform(0.3, 0.8)))[..., None] * (_muted(rng) - field)


def _curves(rng: np.random.Generator, field: np.ndarray) -> None:
    """Open wandering strokes of any colour: edges everywhere, none of them closed."""
    height, width = field.shape[:2]
    per_area = height * width / 256**2
    for _ in range(rng.integers(int(4 * per_area) + 1, int(14 * per_area) + 3)):
        steps = int(rng.integers(6, 26))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, steps))
        stride = rng.uniform(3, 12)
        start = rng.uniform(0, 1, 2) * (width, height)
        points = start + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * stride, axis=0)
        colour = _muted(rng) if rng.random() < 0.75 else rng.uniform(0, 255, 3)
        cv2.polylines(
            field,
            [np.round(points * 16).astype(np.int32)],
            False,
            tuple(float(c) for c in colour),
            int(rng.integers(1, 4)),
            cv2.LINE_8,  # OpenCV antialiases 8-bit images only; the blur and the grain soften these
            4,
        )
