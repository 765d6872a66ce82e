"""Clips made of photographs: cut-out objects that move, turn, change size and hide each other over another photograph.

Still images teach a tracker to find the same picture again. Here the target is seen over other parts of a background,
behind others and beside objects of its own category, so that only the object itself is left to go by.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_util
from pycocotools.coco import COCO

from effowt_d2.data.images import ImageReadError, read_record_image
from effowt_d2.formats import DatasetError, read_dataset

from .made_clips import MadeClip

__all__ = ["Cutout", "Cutouts", "paste_clip", "paste_clips", "read_cutouts"]

_LEAST_SIDE = 24
_LEAST_SEEN = 0.3


@dataclass(frozen=True)
class Cutout:
    """An outlined object: its image, its mask in COCO's compressed form, its category's name."""

    file: str
    mask: dict
    category: str

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 BGR, the whole image."""
        height, width = self.mask["size"]
        return read_record_image({"file_name": self.file, "height": height, "width": width}, "BGR")

    def pixels(self) -> np.ndarray:
        """(h, w, 4) uint8 BGR and opacity, of the box around the mask."""
        image = self.image()
        x, y, width, height = mask_util.toBbox(self.mask).astype(int)
        opacity = cv2.GaussianBlur(255 * mask_util.decode(self.mask), (3, 3), 0)
        return np.dstack([image, opacity])[y : y + height, x : x + width]


class Cutouts:
    """Objects to draw from; those of images that can't be read are dropped.

    Attributes:
        objects: what is left.
        unreadable: why an image was dropped, by file.
    """

    def __init__(self, objects: Sequence[Cutout]) -> None:
        self.objects = list(objects)
        self.unreadable: dict[str, str] = {}

    def like(self, one: Cutout) -> list[Cutout]:
        """The others of its category."""
        return [other for other in self.objects if other.category == one.category and other is not one]

    def draw(
        self,
        random: np.random.Generator,
        read: Callable[[Cutout], np.ndarray] = Cutout.pixels,
        among: Sequence[Cutout] = (),
    ) -> tuple[Cutout, np.ndarray]:
        """One of some objects, by default of all, and what ``read`` gives for it.

        Raises:
            DatasetError: no image can be read.
        """
        while self.objects:
            pool = among or self.objects
            one = pool[random.integers(len(pool))]
            try:
                return one, read(one)
            except ImageReadError as problem:
                self.unreadable[one.file] = str(problem)
                self.objects = [other for other in self.objects if other.file != one.file]
                among = [other for other in among if other.file != one.file]
        raise DatasetError(f"none of the {len(self.unreadable)} images can be read, the first: {self.first_problem}")

    @property
    def first_problem(self) -> str:
        """The first of ``unreadable``; there must be one."""
        return next(iter(self.unreadable.values()))


def read_cutouts(source: Path, image_root: Path) -> Cutouts:
    """The objects of a dataset of still images in COCO's format whose masks have sides of at least 24 pixels.

    Raises:
        DatasetError, FileNotFoundError: the dataset or an outline cannot be read, or there are fewer than two such
            objects.
    """
    dataset = read_dataset(source, image_root, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(dataset.file)
    found, names = [], dataset.category_names
    for annotation in coco.anns.values():
        if annotation.get("iscrowd") or not annotation.get("segmentation"):
            continue
        try:
            mask = coco.annToRLE(annotation)
        except Exception as problem:  # pycocotools raises any, Exception itself too
            raise DatasetError(
                f"{dataset.file}: annotation {annotation['id']}: its segmentation is neither polygons of three points or "
                f"more nor a run-length code: {problem}"
            ) from problem
        if mask_util.toBbox(mask)[2:].min() >= _LEAST_SIDE:
            file = coco.imgs[annotation["image_id"]]["file_name"]
            found.append(Cutout(str(image_root / file), mask, names[annotation["category_id"]]))
    if len(found) < 2:
        raise DatasetError(
            f"{dataset.file} has {len(found)} objects whose masks have sides of {_LEAST_SIDE} pixels or more; 2 are needed"
        )
    return Cutouts(found)


def paste_clips(
    cutouts: Cutouts, count: int, *, frames: int = 8, size: tuple[int, int] = (240, 320), seed: int = 0
) -> Iterator[MadeClip]:
    """``object-1``, ``object-2``, ...: one target and up to three others each; the same arguments give the same clips.

    Args:
        cutouts: of :func:`read_cutouts`.
        count: number of clips.
        frames: of each.
        size: (height, width) of the frames.
        seed: of everything drawn.
    """
    for number in range(count):
        random = np.random.default_rng((seed, number))
        target, pixels = cutouts.draw(random)
        layers, alike = [(target.category, pixels)], cutouts.like(target)
        for _ in range(random.integers(1, 4)):
            other, pixels = cutouts.draw(random, among=alike if alike and random.random() < 0.5 else ())
            layers.append((other.category, pixels))
        _, scene = cutouts.draw(random, Cutout.image)
        yield paste_clip(f"object-{number + 1}", layers, scene, frames=frames, size=size, random=random)


def paste_clip(
    name: str,
    objects: Sequence[tuple[str, np.ndarray]],
    scene: np.ndarray,
    *,
    frames: int,
    size: tuple[int, int],
    random: np.random.Generator,
) -> MadeClip:
    """Make a clip.

    Args:
        name: of the sequence.
        objects: category, and (h, w, 4) uint8 BGR and opacity, of the target and then the others.
        scene: (h, w, 3) uint8 BGR, the background.
        frames, size: number and (height, width) of frames.
        random: source of all that is drawn.
    """
    categories, layers = zip(*objects)
    order = random.permutation(len(layers)).tolist()
    moves = [_moves(random, layer.shape[:2], size, frames) for layer in layers]
    gains = 1 + 0.07 * _walk(random, frames, (len(layers), 3))
    pan = _walk(random, frames, (2,))
    images, seen = [], np.zeros((len(layers), frames), dtype=bool)
    for frame in range(frames):
        stack = [(place, layers[place], moves[place][frame], gains[frame, place]) for place in order]
        image, shown = _compose(_background(scene, size, pan[frame]), stack)
        images.append(image)
        for place, pixels in shown.items():
            seen[place, frame] = pixels / _area(layers[place], moves[place][frame]) >= _LEAST_SEEN
    boxes = [np.stack([_extent(layer, move, size) for move in path]) for layer, path in zip(layers, moves)]
    (boxes_of_target, present), *more = zip(boxes, seen)
    return MadeClip(name, np.stack(images), boxes_of_target, present, more, categories)


def _compose(image: np.ndarray, stack: Sequence[tuple]) -> tuple[np.ndarray, dict[int, float]]:
    """Pastes layers (place, pixels, map, gain) in order; the image, and how many pixels of each can be seen, by place."""
    seen: dict[int, np.ndarray] = {}
    for place, pixels, move, gain in stack:
        warped = cv2.warpAffine(pixels, move, image.shape[1::-1]).astype(np.float32)
        opacity = warped[..., 3:] / 255
        image = image * (1 - opacity) + warped[..., :3] * gain * opacity
        seen = {below: part * (1 - opacity) for below, part in seen.items()} | {place: opacity}
    return image.clip(0, 255).astype(np.uint8), {place: float(part.sum()) for place, part in seen.items()}


def _moves(random: np.random.Generator, shape: tuple[int, int], size: tuple[int, int], frames: int) -> np.ndarray:
    """(N, 2, 3) maps of a layer into the frames: place, size, proportions and angle on walks."""
    side = size[0] * np.exp(random.uniform(np.log(0.12), np.log(0.6)))
    scales = side / np.sqrt(shape[0] * shape[1]) * np.exp(0.1 * _walk(random, frames, (1,)))
    scales = scales * np.exp(0.06 * _walk(random, frames, (2,)))
    angles = np.radians(12 * _walk(random, frames, ()))
    centres = random.uniform(0.2, 0.8, 2) * size[::-1] + 0.3 * side * _walk(random, frames, (2,))
    centres = centres.clip(0, np.array(size[::-1]))
    cos, sin = np.cos(angles), np.sin(angles)
    turn = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    linear = turn * scales[:, None, :]
    shift = centres - linear @ (np.array(shape[::-1]) / 2)
    return np.concatenate([linear, shift[..., None]], axis=-1)


def _walk(random: np.random.Generator, frames: int, shape: tuple[int, ...]) -> np.ndarray:
    """(N, *shape): sums of normal numbers, those of the first frame 0."""
    steps = random.standard_normal((frames, *shape))
    steps[0] = 0
    return steps.cumsum(axis=0)


def _background(scene: np.ndarray, size: tuple[int, int], pan: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: the scene, enlarged to leave room for ``pan`` in hundredths of a side."""
    height, width = size
    scale = 1.3 * max(height / scene.shape[0], width / scene.shape[1])
    shift = np.array(size[::-1]) * (0.5 + 0.02 * pan) - scale * np.array(scene.shape[1::-1]) / 2
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(scene, move, size[::-1], borderMode=cv2.BORDER_REFLECT).astype(np.float32)


def _area(layer: np.ndarray, move: np.ndarray) -> float:
    """Pixels that a layer covers in a frame, outside of it too."""
    return max(float(layer[..., 3].sum()) / 255 * abs(np.linalg.det(move[:, :2])), 1.0)


def _extent(layer: np.ndarray, move: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whole x0, y0, x1, y1 of what a layer covers, cut to the frame."""
    rows, columns = np.nonzero(layer[..., 3] > 127)
    points = np.stack([columns, rows]) + 0.5
    x, y = move[:, :2] @ points + move[:, 2:]
    return np.round([x.min(), y.min(), x.max(), y.max()]).clip(0, np.tile(size[::-1], 2))
