#!/usr/bin/env python
"""Compose images of single objects into mosaics with boxes, as a dataset in COCO format.

    python tools/make_mosaics.py --dataset single.json --images train --output mosaics --count 2500

A mosaic is a grid of 2 to 4 rows of square cells, filled with random images of the dataset. Images that can't be read are
counted, named and skipped. The same seed gives the same mosaics.
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
from effowt_d2.data.images import ImageReadError, read_record_image

Label = tuple[list[float], int]
ROWS = (2, 2, 3, 3, 4)
"""Rows of a mosaic, drawn from these; it may have a column more."""


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="annotated still images in any format (docs/own_data.md)")
    parser.add_argument("--images", required=True, help="their folder")
    parser.add_argument("--output", required=True, type=Path, help="an empty folder, for images and annotations.json")
    parser.add_argument("--count", type=int, default=1000, help="mosaics (1000)")
    parser.add_argument("--side", type=int, default=320, help="height of a mosaic in pixels (320)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.count < 1 or args.side < 4 * max(ROWS):
        parser.error(f"--count must be 1 or more and --side {4 * max(ROWS)} or more, got {args.count} and {args.side}")
    return args


class Cells:
    """Random cells of a dataset's images; what can't be read is kept in ``unreadable``."""

    def __init__(self, records: Sequence[dict], rng: random.Random):
        self.records = [record for record in records if record["annotations"]]
        self.unreadable: list[str] = []
        self._rng = rng

    def draw(self, side: int) -> tuple[np.ndarray, list[Label]]:
        """A (side, side, 3) image and the labels in it: x, y, width, height and the category.

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
        raise ValueError(f"no image of the dataset has labels and can be read; {len(self.unreadable)} can't be read")


def _square(image: np.ndarray, annotations: Sequence[dict], side: int) -> tuple[np.ndarray, list[Label]]:
    """The image scaled to fit into a square, its edge repeated over the rest."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    padded = cv2.copyMakeBorder(small, 0, side - size[1], 0, side - size[0], cv2.BORDER_REPLICATE)
    factors = np.array([size[0] / width, size[1] / height] * 2)
    return padded, [((np.array(a["bbox"]) * factors).tolist(), a["dataset_category_id"]) for a in annotations]


def mosaic(cells: Cells, rng: random.Random, height: int) -> tuple[np.ndarray, list[Label]]:
    """A mosaic (rows * cell, columns * cell, 3) and its labels."""
    rows = rng.choice(ROWS)
    columns, side = rows + rng.choice([0, 1]), height // rows
    image, labels = np.zeros((rows * side, columns * side, 3), dtype=np.uint8), []
    for y in range(0, rows * side, side):
        for x in range(0, columns * side, side):
            image[y : y + side, x : x + side], found = cells.draw(side)
            labels += [([box[0] + x, box[1] + y, *box[2:]], category) for box, category in found]
    return image, labels


def write(folder: Path, records: DatasetRecords, mosaics: Iterator[tuple[np.ndarray, list[Label]]]) -> int:
    """Write the images, then ``annotations.json``; returns the number of labels."""
    images, annotations = [], []
    for number, (image, labels) in enumerate(mosaics, start=1):
        name = f"{number:06d}.jpg"
        if not cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise OSError(f"{folder / name} can't be written")
        images.append({"id": number, "file_name": name, "height": image.shape[0], "width": image.shape[1]})
        for box, category in labels:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": category, "bbox": box}
            annotations.append({**entry, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": key, "name": name} for key, name in records.categories.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return len(annotations)


def run(args: argparse.Namespace) -> None:
    """Everything; prints what was made."""
    if args.output.exists() and any(args.output.iterdir()):
        raise ValueError(f"--output {args.output} is not empty")
    records = load_records(args.dataset, args.images)
    if records.is_video:
        raise ValueError(f"--dataset {args.dataset} has videos; mosaics are made of still images")
    rng = random.Random(args.seed)
    cells = Cells(records, rng)
    args.output.mkdir(parents=True, exist_ok=True)
    steps = tqdm(range(args.count), unit="mosaic", disable=None)
    labels = write(args.output, records, (mosaic(cells, rng, args.side) for _ in steps))
    if cells.unreadable:
        print(f"{len(cells.unreadable)} images were skipped, the first: {cells.unreadable[0]}", file=sys.stderr)
    print(f"{args.count} mosaics with {labels} boxes in {args.output}")


def main(argv: list[str] | None = None) -> int:
    try:
        run(parse_args(argv))
    except (ValueError, OSError) as problem:
        print(f"make_mosaics.py: error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
