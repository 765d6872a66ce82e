"""How the objects and the camera of one ShapesOW video move, and how their looks change."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .render import Look, Pose, look_between, sample_look
from .vocabulary import COLOURS, SHAPES, TEXTURES

# chance and shapes of the pools a video's objects come from: known with 8 classes, known with 16, never
# labelled, novel
_POOLS = ((0.4, SHAPES[:8]), (0.2, SHAPES[8:16]), (0.2, SHAPES[16:22]), (0.2, SHAPES[22:]))
_TWIN_VIDEOS = 0.6  # fraction of videos in which one object has look-alikes


@dataclass(frozen=True)
class Track:
    """One object through a video.

    Attributes:
        look: at first, and what its category is of.
        poses: for every frame, in world coordinates.
        looks: for every frame, where it changes.
    """

    look: Look
    poses: tuple[Pose, ...]
    looks: tuple[Look, ...] = ()

    def look_at(self, time: int) -> Look:
        """The look in a frame."""
        return self.looks[time] if self.looks else self.look


def sample_tracks(
    rng: np.random.Generator, *, objects: tuple[int, int], radii: tuple[float, float], frames: int, size: int
) -> list[Track]:
    """Draw the objects of a video and let them move; later ones are drawn over earlier ones.

    Args:
        rng: source of randomness.
        objects: least and most objects, look-alikes not counted.
        radii: least and greatest radius in pixels.
        frames: number of frames.
        size: side of the frame in pixels.
    """
    looks = []
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        pool = _POOLS[rng.choice(len(_POOLS), p=[chance for chance, _ in _POOLS])][1]
        looks.append(sample_look(rng, shapes=pool))
    if rng.random() < _TWIN_VIDEOS:
        model = looks[rng.integers(len(looks))]
        words = {"shapes": [model.shape], "textures": [model.texture], "colours": [model.colour]}
        looks += [sample_look(rng, **words) for _ in range(rng.integers(1, 3))]
    order = rng.permutation(len(looks))
    return [Track(looks[i], _path(rng, radii=radii, frames=frames, size=size)) for i in order]


def change_looks(rng: np.random.Generator, tracks: list[Track]) -> list[Track]:
    """The same tracks, each with another texture and colour at the end than at the start; the shape stays.

    The colour changes through a quarter of the video that begins in its second quarter, the texture halfway through that.

    Args:
        rng: source of randomness.
        tracks: of 4 frames at least, or the change has no end.
    """
    changed = []
    for track in tracks:
        frames = len(track.poses)
        words = {
            "shapes": [track.look.shape],
            "textures": [word for word in TEXTURES if word != track.look.texture],
            "colours": [word for word in COLOURS if word != track.look.colour],
        }
        target = sample_look(rng, **words)
        fractions = np.clip((np.arange(frames) - rng.uniform(0.25, 0.5) * frames) / (0.25 * frames), 0, 1)
        looks = tuple(look_between(track.look, target, float(fraction)) for fraction in fractions)
        changed.append(replace(track, looks=looks))
    return changed


def _path(rng: np.random.Generator, *, radii: tuple[float, float], frames: int, size: int) -> tuple[Pose, ...]:
    """Smooth wandering, slowly changing in heading, size and rotation, turned back outside the frame."""
    time = np.arange(frames)
    radius = np.exp(rng.uniform(*np.log(radii)))
    growth = rng.uniform(0.05, 0.28) * np.sin(rng.uniform(0, 2 * np.pi) + 2 * np.pi * time / rng.uniform(18, 45))
    sizes = radius * np.exp(growth)
    # at most a third of the object's diameter per frame, so that a good tracker can follow
    speed = rng.uniform(0.2, 0.66) * sizes.min()
    turning = np.clip(rng.normal(0, 0.06) + np.cumsum(rng.normal(0, 0.03, frames)), -0.2, 0.2)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turning)
    steps = speed * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    places = rng.uniform(0.05 * size, 0.95 * size, 2) + np.cumsum(steps, axis=0)
    # an object is invisible outside its radius; the wall is farther, so it stays away for some frames
    places = _fold(places, low=-1.8 * radius, high=size + 1.8 * radius)
    angles = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.14, 0.14) * time
    return tuple(
        Pose(float(x), float(y), float(r), float(a)) for (x, y), r, a in zip(places, sizes, angles, strict=True)
    )


def _fold(places: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """Reflect positions at two walls."""
    span = high - low
    return low + span - np.abs(np.mod(places - low, 2 * span) - span)


def camera_path(rng: np.random.Generator, *, frames: int, reach: float) -> np.ndarray:
    """Camera offsets (frames, 2) in pixels, smooth with a little shake, at most ``reach``."""
    time = np.arange(frames)[:, None]
    swing, start, period = rng.uniform(0, 0.85, 2), rng.uniform(0, 2 * np.pi, 2), rng.uniform(14, 40, 2)
    sway = swing * reach * np.sin(start + 2 * np.pi * time / period)
    return np.clip(sway + rng.normal(0, 2.0, (frames, 2)), -reach, reach)
