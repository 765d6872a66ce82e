"""Outlines of the ShapesOW shapes: closed contours filled by the even-odd rule, inside the unit circle.

Legend: a contour is a float array (P, 2) of x, y with y pointing down; an outline is a list of contours.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .vocabulary import SHAPES

_STEPS = 48  # points of a full round curve: below half a pixel of error at the largest radius drawn


def _polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def _arc(*, centre=(0.0, 0.0), radii=(1.0, 1.0), start=0.0, stop=2 * np.pi, steps=_STEPS) -> np.ndarray:
    angle = np.linspace(start, stop, steps, endpoint=stop - start < 2 * np.pi - 1e-9)
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def _polar(radius) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 3 * _STEPS, endpoint=False)
    length = radius(angle)
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)


def _star() -> np.ndarray:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    length = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)


def _crescent() -> np.ndarray:
    outer = _arc(start=0.7, stop=2 * np.pi - 0.7)
    tip = outer[0]
    # the inner edge is a second circle through both tips, centred to the right
    centre, radius = 0.62, np.hypot(tip[0] - 0.62, tip[1])
    bend = np.arctan2(tip[1], tip[0] - centre)
    inner = _arc(centre=(centre, 0.0), radii=(radius, radius), start=bend, stop=2 * np.pi - bend)
    return np.concatenate([outer, inner[::-1]])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, _STEPS, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _drop() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, _STEPS, endpoint=False)
    return np.stack([0.75 * np.sin(t) * np.sin(t / 2) ** 1.6, -np.cos(t)], axis=1)


def _fish() -> np.ndarray:
    body = _arc(centre=(0.25, 0.0), radii=(0.75, 0.5), start=-np.pi + 0.3, stop=np.pi - 0.3)
    return np.concatenate([body, _polygon((-1.0, 0.6), (-0.78, 0.0), (-1.0, -0.6))])


def _mushroom() -> np.ndarray:
    cap = _arc(radii=(1.0, 0.9), start=-np.pi, stop=0.0, steps=_STEPS // 2)
    return np.concatenate([cap, _polygon((0.3, 0.0), (0.36, 0.85), (-0.36, 0.85), (-0.3, 0.0))])


def _dumbbell() -> np.ndarray:
    right = _arc(centre=(0.62, 0.0), radii=(0.42, 0.42), start=-np.pi + 0.4, stop=np.pi - 0.4)
    return np.concatenate([right, -right])


def _leaf() -> np.ndarray:
    half = np.linspace(0, np.pi, _STEPS // 2)
    edge = np.stack([-np.cos(half), 0.36 * np.sin(half) ** 1.5], axis=1)
    return np.concatenate([edge, -edge])


def _gear() -> np.ndarray:
    return _polar(lambda a: np.where(np.sin(9 * a) > 0, 1.0, 0.72))


def _hook() -> np.ndarray:
    outer = _arc(centre=(0.0, 0.3), radii=(0.7, 0.7), start=0.0, stop=np.pi)
    inner = _arc(centre=(0.0, 0.3), radii=(0.32, 0.32), start=0.0, stop=np.pi)
    return np.concatenate([_polygon((0.7, -1.0)), outer, inner[::-1], _polygon((0.32, -1.0))])


def _key() -> list[np.ndarray]:
    head = _arc(centre=(-0.55, 0.0), radii=(0.48, 0.48), start=0.35, stop=2 * np.pi - 0.35)
    teeth = [(1.0, 0.5), (0.78, 0.5), (0.78, 0.16), (0.6, 0.16), (0.6, 0.45), (0.38, 0.45)]
    shaft = _polygon((1.0, -0.16), *teeth, (0.38, 0.16))
    return [np.concatenate([head, shaft]), _arc(centre=(-0.58, 0.0), radii=(0.2, 0.2))]


_SQUARE = _polygon((-1, -1), (1, -1), (1, 1), (-1, 1))
_CROSS = [(0.34, -1), (0.34, -0.34), (1, -0.34), (1, 0.34), (0.34, 0.34), (0.34, 1)]
_OUTLINES = {
    "disc": lambda: _arc(),
    "star": _star,
    "arrow": lambda: _polygon(
        (1, 0), (0.2, -0.75), (0.2, -0.28), (-1, -0.28), (-1, 0.28), (0.2, 0.28), (0.2, 0.75),
    ),
    "house": lambda: _polygon(
        (0, -1), (0.95, -0.15), (0.68, -0.15), (0.68, 0.85), (-0.68, 0.85), (-0.68, -0.15), (-0.95, -0.15),
    ),
    "cross": lambda: _polygon(*_CROSS, *[(-x, y) for x, y in _CROSS[::-1]]),
    "crescent": _crescent,
    "fish": _fish,
    "frame": lambda: [_SQUARE, 0.5 * _SQUARE],
    "heart": _heart,
    "triangle": lambda: _polygon((0, -1), (0.95, 0.75), (-0.95, 0.75)),
    "key": _key,
    "chevron": lambda: _polygon((-0.7, -1), (-0.1, -1), (0.7, 0), (-0.1, 1), (-0.7, 1), (0.1, 0)),
    "clover": lambda: _polar(lambda a: 0.42 + 0.58 * np.abs(np.sin(2 * a)) ** 0.8),
    "hourglass": lambda: _polygon((-0.75, -1), (0.75, -1), (0.12, 0), (0.75, 1), (-0.75, 1), (-0.12, 0)),
    "mushroom": _mushroom,
    "bar": lambda: _polygon((-1, -0.24), (1, -0.24), (1, 0.24), (-1, 0.24)),
    "ring": lambda: [_arc(), _arc(radii=(0.52, 0.52))],
    "bolt": lambda: _polygon((0.25, -1), (-0.6, 0.15), (-0.08, 0.15), (-0.3, 1), (0.6, -0.25), (0.08, -0.25)),
    "drop": _drop,
    "comb": lambda: _polygon(
        (-0.9, -0.8), (0.9, -0.8), (0.9, 0.8), (0.54, 0.8), (0.54, -0.25), (0.18, -0.25), (0.18, 0.8),
        (-0.18, 0.8), (-0.18, -0.25), (-0.54, -0.25), (-0.54, 0.8), (-0.9, 0.8),
    ),
    "dumbbell": _dumbbell,
    "tree": lambda: _polygon(
        (0, -1), (0.5, -0.35), (0.25, -0.35), (0.8, 0.5), (0.15, 0.5), (0.15, 1), (-0.15, 1), (-0.15, 0.5),
        (-0.8, 0.5), (-0.25, -0.35), (-0.5, -0.35),
    ),
    "gear": _gear,
    "propeller": lambda: _polar(lambda a: 0.16 + 0.84 * np.abs(np.cos(1.5 * a)) ** 1.6),
    "hook": _hook,
    "dome": lambda: _arc(start=-np.pi, stop=0.0),
    "zigzag": lambda: _polygon(
        (-1, 0.1), (-0.5, -0.6), (0, 0.1), (0.5, -0.6), (1, 0.1),
        (1, 0.62), (0.5, -0.08), (0, 0.62), (-0.5, -0.08), (-1, 0.62),
    ),
    "leaf": _leaf,
}  # fmt: skip


@cache
def outline(shape: str) -> tuple[np.ndarray, ...]:
    """Contours of a shape, centred on its box and scaled so that the farthest point has radius 1.

    Args:
        shape: a word of ``SHAPES``.

    Returns:
        Float arrays (P, 2); filled together by the even-odd rule. Shared between calls: do not write into
        them.

    Raises:
        KeyError: not a shape of ShapesOW.
    """
    if shape not in _OUTLINES:
        raise KeyError(f"'{shape}' is not a shape of ShapesOW; expected one of {', '.join(SHAPES)}")
    drawn = _OUTLINES[shape]()
    contours = drawn if isinstance(drawn, list) else [drawn]
    points = np.concatenate(contours)
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    scale = np.linalg.norm(points - centre, axis=1).max()
    return tuple((contour - centre) / scale for contour in contours)
