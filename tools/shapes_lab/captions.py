"""Image-text pairs over the whole vocabulary, for training a vision-language model on ShapesOW's world.

Only an image and a sentence leave this module: no box, no group, no category id reaches the training of the
tower.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from effowt_d2.data.shapes_ow.backgrounds import background
from effowt_d2.data.shapes_ow.render import (
    Look,
    Pose,
    draw_object,
    finish_frame,
    sample_light,
    sample_look,
    sample_photometry,
)
from effowt_d2.data.shapes_ow.vocabulary import COLOURS, TEMPLATES, TEXTURES

_STREAM = 3  # keeps these random streams apart from those of the train, val and test splits
_RADII = (13.0, 46.0)  # as wide as in the benchmark's frames, so that a patch token sees the same pixels


def render_objects(
    rng: np.random.Generator, looks: Sequence[Look], radii: Sequence[float], *, size: int, ease: float = 0.0
) -> np.ndarray:
    """Draw objects at random places, mostly inside the image, on a cluttered background.

    Args:
        rng: source of randomness.
        looks, radii: the objects.
        size: side in pixels.
        ease: 0..1; the higher, the nearer to the centre and the more upright they are.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    frame = background(rng, height=size, width=size)
    owners = np.full((size, size), -1, dtype=np.int16)
    light = sample_light(rng)
    for index, (look, radius) in enumerate(zip(looks, radii, strict=True)):
        margin = min(0.75 * radius, size / 2 - 1)
        margin += 0.9 * ease * (size / 2 - 1 - margin)
        x, y = rng.uniform(margin, size - margin, 2)
        pose = Pose(float(x), float(y), float(radius), float(rng.uniform(-np.pi, np.pi) * (1 - 0.9 * ease)))
        draw_object(frame, owners, index, look, pose, light=light)
    return finish_frame(frame, rng, sample_photometry(rng))


def single_object(
    rng: np.random.Generator, *, size: int = 128, ease: float = 0.0, **words: Sequence[str]
) -> tuple[np.ndarray, Look]:
    """An image of one object.

    Args:
        rng: source of randomness.
        size: side in pixels.
        ease: 0..1; the higher, the larger, more central and more upright the object.
        **words: ``shapes``, ``textures``, ``colours`` to choose from.

    Returns:
        (size, size, 3) uint8 RGB and the object's look.
    """
    look = sample_look(rng, **words)
    least = _RADII[0] + ease * 0.8 * (_greatest(size) - _RADII[0])
    return render_objects(rng, [look], [_radius(rng, least, _greatest(size))], size=size, ease=ease), look


def captioned_image(
    rng: np.random.Generator, *, size: int = 128, ease: float = 0.0, **words: Sequence[str]
) -> tuple[np.ndarray, str]:
    """An image of one to three objects and a sentence about it.

    Eight in ten show one object; one in ten several, all named; one in ten one large object among small ones,
    and only the large one named.

    Args:
        rng: source of randomness.
        size: side in pixels.
        ease: 0..1; the higher, the fewer images of several objects, and the easier those of one.
        **words: ``shapes``, ``textures``, ``colours`` to choose from.

    Returns:
        (size, size, 3) uint8 RGB and the caption.

    Raises:
        ValueError: too small an image for the objects.
    """
    if size < 4 * _RADII[0]:
        raise ValueError(f"a captioned image needs a side of at least {4 * _RADII[0]:.0f} pixels, got {size}")
    template = TEMPLATES[rng.integers(len(TEMPLATES))]
    kind = rng.random() * (1 - 0.2 * ease)
    if kind < 0.8:
        image, look = single_object(rng, size=size, ease=ease, **words)
        return image, template.format(_name(look))
    looks = [sample_look(rng, **words) for _ in range(rng.integers(2, 4))]
    if kind < 0.9:
        radii = [_radius(rng, _RADII[0], size / 4) for _ in looks]
        named = looks
    else:
        radii = [rng.uniform(9, 16) for _ in looks[1:]] + [rng.uniform(0.65, 1) * _greatest(size)]
        named = looks[-1:]
    image = render_objects(rng, looks, radii, size=size)
    return image, template.format(" and a ".join(_name(look) for look in named))


def captioned_batch(
    *, seed: int, index: int, batch: int, size: int = 128, ease: float = 0.0
) -> tuple[np.ndarray, list[str]]:
    """Batch number ``index`` of an endless stream, the same whichever process makes it.

    Half of the batches have one texture and one colour (none at full ease): their pairs can be told apart by
    shape alone, which is the word that is hardest to learn.

    Returns:
        (batch, size, size, 3) uint8 RGB and as many captions.
    """
    rng = np.random.default_rng([seed, _STREAM, index])
    words: dict[str, Sequence[str]] = {}
    if rng.random() < 0.5 * (1 - ease):
        words["textures"] = [str(word) for word in rng.choice(TEXTURES, 1)]
        words["colours"] = [str(word) for word in rng.choice(list(COLOURS), 1)]
    pairs = [captioned_image(rng, size=size, ease=ease, **words) for _ in range(batch)]
    return np.stack([image for image, _ in pairs]), [caption for _, caption in pairs]


def _greatest(size: int) -> float:
    """Largest radius that an image of this size shows whole."""
    return min(_RADII[1], size / 2)


def _radius(rng: np.random.Generator, least: float, greatest: float) -> float:
    return float(np.exp(rng.uniform(*np.log((least, greatest)))))


def _name(look: Look) -> str:
    return f"{look.colour} {look.texture} {look.shape}"
