"""The training split: still images in COCO format, with labels for the known shapes only."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from effowt_d2.data.images import write_image

from .backgrounds import background
from .labels import category_records, open_world_groups, visible_part
from .render import Look, Pose, draw_object, finish_frame, sample_light, sample_look, sample_photometry
from .vocabulary import DEFAULT_KNOWN, known_shapes, unlabelled_shapes

_STREAM = 0  # random streams: 0 train, 1 val, 2 test, 3 captions, 4 held-out images


@dataclass(frozen=True)
class ImageSplit:
    """Parameters of a training split.

    Attributes:
        known: how many shapes are labelled: 4, 8 or 16.
        count: number of images.
        size: side of the square images in pixels.
        objects: least and most objects in an image.
        radii: least and greatest object radius in pixels.
        unlabelled: chance that an object is of an unlabelled shape.
        seed: the benchmark's seed.
    """

    known: int = DEFAULT_KNOWN
    count: int = 2000
    size: int = 256
    objects: tuple[int, int] = (2, 8)
    radii: tuple[float, float] = (13.0, 44.0)
    unlabelled: float = 0.25
    seed: int = 0

    @property
    def parameters(self) -> dict:
        """Everything that decides the content, for the stamp."""
        return dataclasses.asdict(self)


def draw_image(split: ImageSplit, index: int) -> tuple[np.ndarray, list[dict]]:
    """Render image number ``index``.

    Args:
        split: parameters.
        index: from 0; the image depends on nothing but the split's parameters and this.

    Returns:
        (size, size, 3) uint8 RGB, and labels of the visible known objects: ``bbox``, ``area``,
        ``segmentation``, ``category_id``.
    """
    rng = np.random.default_rng([split.seed, _STREAM, split.known, index])
    frame = background(rng, height=split.size, width=split.size)
    owners = np.full((split.size, split.size), -1, dtype=np.int16)
    light = sample_light(rng)
    placed: list[tuple[Look, int]] = []
    poses: list[Pose] = []
    for number in range(rng.integers(split.objects[0], split.objects[1] + 1)):
        hidden = rng.random() < split.unlabelled
        look = sample_look(rng, shapes=(unlabelled_shapes if hidden else known_shapes)(split.known))
        poses.append(_place(rng, split, poses))
        placed.append((look, draw_object(frame, owners, number, look, poses[-1], light=light)))
    labelled = known_shapes(split.known)
    labels = []
    for number, (look, area) in enumerate(placed):
        part = visible_part(owners, number, area) if look.shape in labelled else None
        if part:
            labels.append({**part, "category_id": look.category_id})
    return finish_frame(frame, rng, sample_photometry(rng)), labels


def _place(rng: np.random.Generator, split: ImageSplit, others: list[Pose]) -> Pose:
    """A pose at some distance from the others where a few tries find one, so that overlap stays moderate."""
    radius = float(np.exp(rng.uniform(*np.log(split.radii))))
    for _ in range(6):
        x, y = rng.uniform(0.3 * radius, split.size - 0.3 * radius, 2)
        pose = Pose(float(x), float(y), radius, float(rng.uniform(0, 2 * np.pi)))
        if all(np.hypot(x - o.x, y - o.y) > 0.7 * (radius + o.radius) for o in others):
            break
    return pose


def write_images(split: ImageSplit, folder: Path) -> None:
    """Render the split into ``folder``: ``images/*.jpg`` and ``annotations.json`` in COCO format."""
    (folder / "images").mkdir()
    images, annotations = [], []
    for index in tqdm(range(split.count), desc=f"ShapesOW train, {split.known} known", unit="image"):
        image, labels = draw_image(split, index)
        name = f"images/{index + 1:06d}.jpg"
        write_jpeg(folder / name, image)
        images.append({"id": index + 1, "file_name": name, "width": split.size, "height": split.size})
        for label in labels:
            annotations.append({"id": len(annotations) + 1, "image_id": index + 1, "iscrowd": 0, **label})
    document = {
        "info": {"description": "ShapesOW training images: known shapes are labelled, others are not"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": category_records(),
        **open_world_groups(split.known),
    }
    (folder / "annotations.json").write_text(json.dumps(document))


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) as JPEG.

    Raises:
        OSError: the file could not be written.
    """
    write_image(path, image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
