"""Drawing: one textured, shaded object at a time, composed into a frame with a map of visible owners.

Legend: frames are float32 (H, W, 3) RGB in 0..255; an owner map is int16 (H, W) with the index of the topmost
object, -1 for background; positions are x, y in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from .outlines import outline
from .vocabulary import COLOURS, SHAPES, TEXTURES, category_id

_SHIFT = 4  # fixed-point bits of the polygon coordinates handed to OpenCV


@dataclass(frozen=True)
class Look:
    """Appearance of an object.

    Attributes:
        shape, texture, colour: words of the vocabulary.
        base, accent: RGB in 0..255 of the two tones; plain objects use the first only.
        frequency: texture periods per object radius.
        phase: texture offset in radians.
        aspect: height over width, applied before rotation.
    """

    shape: str
    texture: str
    colour: str
    base: tuple[float, float, float]
    accent: tuple[float, float, float]
    frequency: float
    phase: float
    aspect: float

    @property
    def category_id(self) -> int:
        """Id of the category these words make."""
        return category_id(shape=self.shape, texture=self.texture, colour=self.colour)


@dataclass(frozen=True)
class Pose:
    """Pose of an object: centre in pixels, radius in pixels, rotation in radians."""

    x: float
    y: float
    radius: float
    angle: float


def sample_look(
    rng: np.random.Generator,
    *,
    shapes: Sequence[str] = SHAPES,
    textures: Sequence[str] = TEXTURES,
    colours: Sequence[str] = tuple(COLOURS),
) -> Look:
    """Draw an object's words, evenly from those given, and their jitter.

    Args:
        rng: source of randomness.
        shapes, textures, colours: words to choose from; one word each makes a twin of the same category.
    """
    shape = shapes[rng.integers(len(shapes))]
    texture = textures[rng.integers(len(textures))]
    colour = colours[rng.integers(len(colours))]
    base = np.clip(np.array(COLOURS[colour]) * rng.uniform(0.88, 1.08) + rng.normal(0, 6, 3), 0, 255)
    # the second tone is a paler or a darker version, so the colour word stays true of the whole object
    accent = base * 0.35 + 160 if rng.random() < 0.5 else base * 0.4
    return Look(
        shape=shape,
        texture=texture,
        colour=colour,
        base=tuple(base),
        accent=tuple(accent),
        frequency=float(rng.uniform(1.3, 1.8)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        aspect=float(rng.uniform(0.82, 1.0)),
    )


def look_between(first: Look, last: Look, fraction: float) -> Look:
    """The first look on its way to the last one: mixed colours, and the texture of the nearer one.

    Args:
        first, last: looks; shape, aspect and the place of the texture stay those of the first.
        fraction: of the way, 0 to 1.
    """
    near = first if fraction < 0.5 else last
    base, accent = (
        (1 - fraction) * np.array(a) + fraction * np.array(b)
        for a, b in ((first.base, last.base), (first.accent, last.accent))
    )
    return replace(first, texture=near.texture, colour=near.colour, base=tuple(base), accent=tuple(accent))


def _second_tone(look: Look, u: np.ndarray, v: np.ndarray, sharpness: float) -> np.ndarray:
    """Weight 0..1 of the accent colour at object coordinates u, v; sharpness is pixels per period."""
    a, b = 2 * np.pi * look.frequency * u, 2 * np.pi * look.frequency * v
    if look.texture == "striped":
        field = np.sin(a + look.phase) - 0.1
    elif look.texture == "dotted":
        field = np.cos(a + look.phase) + np.cos(b) - 0.75
    elif look.texture == "checkered":
        field = 1.6 * np.sin(a + look.phase) * np.sin(b + look.phase)
    elif look.texture == "marbled":
        field = np.sin(0.7 * a + 2.4 * np.sin(0.5 * b + look.phase) + 1.5 * np.sin(0.9 * a - 0.4 * b)) - 0.25
    else:
        return np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    return np.clip(0.5 + field * (0.16 * sharpness), 0.0, 1.0)


def draw_object(frame: np.ndarray, owners: np.ndarray, index: int, look: Look, pose: Pose, *, light: tuple) -> int:
    """Draw one object over what is there, in place.

    Args:
        frame: (H, W, 3) float32, modified.
        owners: (H, W) int16, set to ``index`` where the object covers at least half of a pixel.
        index: the object's number in this frame.
        look, pose: appearance and position; any part may lie outside the frame.
        light: direction of the light as x, y.

    Returns:
        The object's whole area in pixels, as if neither the frame's edge nor another object hid any of it.
    """
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    forward = pose.radius * np.array([[cos, -sin * look.aspect], [sin, cos * look.aspect]])
    contours = [contour @ forward.T for contour in outline(look.shape)]
    extent = np.abs(np.concatenate(contours)).max(axis=0) + 2
    left, top = int(np.floor(pose.x - extent[0])), int(np.floor(pose.y - extent[1]))
    width, height = int(2 * extent[0]) + 3, int(2 * extent[1]) + 3

    alpha = np.zeros((height, width), dtype=np.uint8)
    offset = np.array([pose.x - left, pose.y - top])
    fixed = [np.round((contour + offset) * (1 << _SHIFT)).astype(np.int32) for contour in contours]
    cv2.fillPoly(alpha, fixed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)
    area = int(np.count_nonzero(alpha > 127))

    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + width, frame.shape[1]), min(top + height, frame.shape[0])
    if x0 >= x1 or y0 >= y1:
        return area
    alpha = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
    colour = _surface(look, pose, forward, np.arange(x0, x1), np.arange(y0, y1), light)
    target = frame[y0:y1, x0:x1]
    target += (alpha * np.float32(1 / 255))[..., None] * (colour - target)
    owners[y0:y1, x0:x1][alpha > 127] = index
    return area


def _surface(look: Look, pose: Pose, forward: np.ndarray, columns: np.ndarray, rows: np.ndarray, light: tuple):
    """Colour (h, w, 3) float32 of the object's surface at the given pixels: two tones under one light."""
    inverse = np.linalg.inv(forward)
    x = (columns - pose.x).astype(np.float32)[None, :]
    y = (rows - pose.y).astype(np.float32)[:, None]
    u = np.float32(inverse[0, 0]) * x + np.float32(inverse[0, 1]) * y
    v = np.float32(inverse[1, 0]) * x + np.float32(inverse[1, 1]) * y
    tone = _second_tone(look, u, v, pose.radius / look.frequency)[..., None]
    base, accent = np.float32(look.base), np.float32(look.accent)
    shade = 1 + np.float32(0.22 / pose.radius) * (np.float32(light[0]) * x + np.float32(light[1]) * y)
    return (base + tone * (accent - base)) * shade[..., None]


def sample_light(rng: np.random.Generator) -> tuple[float, float]:
    """A direction of light, as a unit vector x, y."""
    angle = rng.uniform(0, 2 * np.pi)
    return float(np.cos(angle)), float(np.sin(angle))


def sample_photometry(rng: np.random.Generator) -> tuple[float, float, float]:
    """Mild camera response: gain, offset, and standard deviation of the pixel noise (in grey levels)."""
    return float(rng.uniform(0.85, 1.12)), float(rng.uniform(-12, 12)), float(rng.uniform(1, 5))


def finish_frame(frame: np.ndarray, rng: np.random.Generator, photometry: tuple[float, float, float]) -> np.ndarray:
    """Apply gain, offset and pixel noise; return uint8 (H, W, 3)."""
    gain, offset, noise = photometry
    grain = rng.standard_normal(frame.shape[:2], dtype=np.float32) * np.float32(noise)
    return np.clip(frame * np.float32(gain) + (grain + np.float32(offset))[..., None], 0, 255).astype(np.uint8)
