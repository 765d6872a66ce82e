#!/usr/bin/env python
"""Compose images of single objects into mosaics with boxes, as a dataset in COCO format.

    python tools/make_mosaics.py --dataset single.json --images train --output mosaics --count 2500

A mosaic is a grid of 2 to 4 rows of square cells, filled with random images of the dataset. Images that can't be read are
counted, named and skipped. Boxes are cut to their image, as in training, and those outside of it are dropped and counted.
Crowds stay crowds. The same seed gives the same mosaics.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from effowt_d2.data.datasets.records import DatasetRecords, load_records
from effowt_d2.data.images import ImageReadError, read_record_image, write_image
from effowt_d2.utils.box_rules import without_pixels
from effowt_d2.utils.boxes import xywh_to_xyxy, xyxy_to_xywh
from effowt_d2.utils.files import whole_folder, write_atomically

Label = tuple[list[float], int, int]
"""x, y, width and height in pixels; the category; 1 for a crowd, else 0."""
ROWS = (2, 2, 3, 3, 4)
"""Rows of a mosaic, drawn from these; it may have a column more."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="annotated still images in any format (docs/own_data.md)")
    parser.add_argument("--images", required=True, help="their folder")
    parser.add_argument(
        "--output", required=True, type=Path, help="a new or empty folder, for images and annotations.json"
    )
    parser.add_argument("--count", type=int, default=1000, help="mosaics (1000)")
    parser.add_argument("--side", type=int, default=320, help="height of a mosaic in pixels (320)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.count < 1 or args.side < 4 * max(ROWS):
        parser.error(f"--count must be 1 or more and --side {4 * max(ROWS)} or more, got {args.count} and {args.side}")
    return args


class Cells:
    """Random cells of a dataset's images.

    Args:
        records: images and their labels.
        rng: draws.

    Attributes:
        records: images left to draw: they show an object that is no crowd, and have not failed to be read.
        dropped: labels that show nothing of their image.
        unreadable: why each image that can't be read was dropped.

    Raises:
        ValueError: no image shows such an object.
    """

    def __init__(self, records: Sequence[dict], rng: random.Random):
        cut = [{**record, "annotations": _inside(record)} for record in records]
        self.records = [record for record in cut if any(not label["iscrowd"] for label in record["annotations"])]
        self.dropped = sum(len(old["annotations"]) - len(new["annotations"]) for old, new in zip(records, cut))
        self.unreadable: list[str] = []
        self._rng = rng
        if not self.records:
            raise ValueError(
                f"none of the {len(records)} images shows an object that is no crowd; {self.dropped} labels are outside "
                "of their image or have no area"
            )

    def draw(self, side: int) -> tuple[np.ndarray, list[Label]]:
        """A (side, side, 3) image and the labels in it.

        Raises:
            ValueError: no image is left.
        """
        while self.records:
            place = self._rng.randrange(len(self.records))
            record = self.records[place]
            try:
                image = read_record_image(dict(record), "BGR")
            except ImageReadError as problem:
                self.unreadable.append(str(problem))
                self.records.pop(place)
                continue
            return _square(image, record["annotations"], side)
        raise ValueError(
            f"none of the {len(self.unreadable)} images with objects can be read, the first: {self.unreadable[0]}"
        )


def _inside(record: dict) -> list[dict]:
    """The labels of an image, cut to its edges; those that show nothing of it are left out."""
    labels = record["annotations"]
    boxes = np.array([label["bbox"] for label in labels], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([[record["width"], record["height"]]], dtype=np.float64)
    cut = xyxy_to_xywh(xywh_to_xyxy(boxes).clip(0, np.tile(sizes, 2)))
    gone = without_pixels(boxes, sizes)
    return [{**label, "bbox": box} for label, box, none in zip(labels, cut.tolist(), gone) if not none]


def _square(image: np.ndarray, annotations: Sequence[dict], side: int) -> tuple[np.ndarray, list[Label]]:
    """The image scaled to fit into a square, its edge repeated over the rest."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    padded = cv2.copyMakeBorder(small, 0, side - size[1], 0, side - size[0], cv2.BORDER_REPLICATE)
    factors = np.array([size[0] / width, size[1] / height] * 2)
    return padded, [
        ((np.array(a["bbox"]) * factors).tolist(), a["dataset_category_id"], a["iscrowd"]) for a in annotations
    ]


def mosaic(cells: Cells, rng: random.Random, height: int) -> tuple[np.ndarray, list[Label]]:
    """A mosaic (rows * cell, columns * cell, 3) and its labels."""
    rows = rng.choice(ROWS)
    columns, side = rows + rng.choice([0, 1]), height // rows
    image, labels = np.zeros((rows * side, columns * side, 3), dtype=np.uint8), []
    for y in range(0, rows * side, side):
        for x in range(0, columns * side, side):
            image[y : y + side, x : x + side], found = cells.draw(side)
            labels += [([box[0] + x, box[1] + y, *box[2:]], *rest) for box, *rest in found]
    return image, labels


def write(folder: Path, records: DatasetRecords, mosaics: Iterator[tuple[np.ndarray, list[Label]]]) -> int:
    """Write the images, then ``annotations.json``; returns the number of labels."""
    images, annotations = [], []
    for number, (image, labels) in enumerate(mosaics, start=1):
        name = f"{number:06d}.jpg"
        write_image(folder / name, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append({"id": number, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
        for box, category, crowd in labels:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box}
            annotations.append({**entry, "area": box[2] * box[3], "iscrowd": crowd})
    categories = [{"id": key, "name": name} for key, name in records.categories.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(folder / "annotations.json", lambda stream: stream.write(json.dumps(content).encode()))
    return len(annotations)


def run(args: argparse.Namespace) -> None:
    """Everything; prints what was made."""
    with whole_folder(args.output) as folder:
        records = load_records(args.dataset, args.images)
        if records.is_video:
            raise ValueError(f"--dataset {args.dataset} has videos; mosaics are made of still images")
        rng = random.Random(args.seed)
        cells = Cells(records, rng)
        steps = tqdm(range(args.count), unit="mosaic", disable=None)
        labels = write(folder, records, (mosaic(cells, rng, args.side) for _ in steps))
    if cells.dropped:
        print(f"{cells.dropped} labels of the dataset were dropped: no pixel in their image", file=sys.stderr)
    if cells.unreadable:
        print(f"{len(cells.unreadable)} images were skipped, the first: {cells.unreadable[0]}", file=sys.stderr)
    print(f"{args.count} mosaics with {labels} boxes in {args.output}")


def main(argv: list[str] | None = None) -> int:
    try:
        run(parse_args(argv))
    except (ValueError, OSError) as problem:
        print(f"make_mosaics.py: error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("make_mosaics.py: interrupted; nothing is left of the mosaics", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
