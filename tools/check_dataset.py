#!/usr/bin/env python
"""Print contents and faults of datasets.

    python tools/check_dataset.py tao_ow_train tao_ow_val
    python tools/check_dataset.py data/train.json --images data/images --known dog cat
    python tools/check_dataset.py --register mine data/train.json data/images coco

The exit status is 1 where a dataset cannot be used.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from tqdm import tqdm

from effowt_d2.data.datasets.registration import (
    add_register_option,
    register_entries,
    register_file,
    take_registrations,
)
from effowt_d2.data.image_files import SAMPLE
from effowt_d2.data.images import ImageReadError, read_record_image
from effowt_d2.data.labels import format_counts, training_labels
from effowt_d2.data.summary import anomalies, describe
from effowt_d2.evaluation.groups import choose_groups
from effowt_d2.formats import FORMATS, read_dataset
from effowt_d2.formats.consistency import find_faults
from effowt_d2.formats.missing import are_missing, describe_missing


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", metavar="NAME|FILE", help="registered names, or annotation files")
    parser.add_argument("--images", help="image folder of the annotation files; default: the folder they are in")
    parser.add_argument("--format", default="", choices=FORMATS, help="of the annotation files; default: detected")
    parser.add_argument("--known", nargs="+", metavar="NAME|ID", help="the known categories (DATA.CLASSES)")
    parser.add_argument("--distractor", nargs="+", default=[], metavar="NAME|ID", help="see DATA.DISTRACTORS")
    parser.add_argument("--read", type=int, default=SAMPLE, help=f"images to read; 0: all; default {SAMPLE}")
    add_register_option(parser)
    return parser


def main() -> int:
    parser = get_parser()
    args = parser.parse_args()
    if args.distractor and not args.known:
        parser.error("--distractor needs --known")
    if args.read < 0:
        parser.error(f"--read must be 0 or more, got {args.read}")
    try:
        names = register(args)
    except ValueError as error:
        parser.error(str(error))
    problems = [f"dataset '{name}': {problem}" for name in names for problem in check(name, args)]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems))


def register(args: argparse.Namespace) -> list[str]:
    """Register what the command line describes; returns the names to check.

    Raises:
        ValueError: a dataset is neither registered nor a file, or there is none; a name to register is taken.
    """
    entries = take_registrations(args)
    register_entries(entries, "--register")
    names = [name for name, *_ in entries]
    for name in args.datasets:
        if name not in DatasetCatalog.list():
            path = Path(name)
            if not path.exists():
                raise ValueError(f"{name} is neither a registered dataset nor a file")
            register_file(name, path, args.images or (path if path.is_dir() else path.parent), args.format)
        names.append(name)
    if not names:
        raise ValueError("give the names of datasets, or annotation files")
    return list(dict.fromkeys(names))


def given_groups(args: argparse.Namespace) -> dict | None:
    """The groups of the command line; None where it has none."""
    if not args.known:
        return None
    groups = {"known": args.known, "distractor": args.distractor}
    return {name: [int(value) if value.isdecimal() else value for value in values] for name, values in groups.items()}


def check(name: str, args: argparse.Namespace) -> Iterator[str]:
    """Print what is in a dataset; yields what makes it unusable."""
    records, problem = [], None
    try:
        records = DatasetCatalog.get(name)
    except (ValueError, OSError) as error:
        problem = error
    if isinstance(problem, OSError):
        yield str(problem)
    elif MetadataCatalog.get(name).get("json_file"):
        yield from check_file(name, args)
    elif problem:
        yield str(problem)
    else:
        yield from check_labels(name, records, args)
    if records and not any(record.get("annotations") for record in records):
        print("  warning: no annotations: it can be tracked, but not trained on")
    yield from check_images(records, args.read)


def check_file(name: str, args: argparse.Namespace) -> Iterator[str]:
    """A dataset that is read from an annotation file; all kinds of faults are found."""
    metadata = MetadataCatalog.get(name)
    place = (metadata.json_file, metadata.get("image_root", ""), metadata.get("format", ""))
    try:
        dataset = read_dataset(*place, check=False)
        groups = choose_groups(
            given_groups(args), dataset.open_world, name, dataset.category_names, tao_lists=dataset.is_video
        )
    except ValueError as error:
        yield str(error)
        return
    print(describe(name, dataset, groups))
    for oddity in anomalies(dataset):
        print(f"  warning: {oddity}")
    yield from map(str, find_faults(dataset))


def check_labels(name: str, records: list[dict], args: argparse.Namespace) -> Iterator[str]:
    """A dataset that is a function in Detectron2's catalog."""
    try:
        print(format_counts([training_labels(name, records, given_groups(args))[1]]))
    except ValueError as error:
        yield str(error)


def check_images(records: list[dict], count: int) -> Iterator[str]:
    """Look for all image files, and read some of them."""
    files = [record["file_name"] for record in records]
    missing = are_missing(files)
    if any(missing):
        yield describe_missing(files, missing)
    there = [record for record, gone in zip(records, missing) if not gone]
    step = max(1, len(there) // count) if count else 1
    for record in tqdm(there[::step][: count or None], desc="reading images", unit="image", disable=None):
        try:
            read_record_image(dict(record), "BGR")
        except ImageReadError as error:
            yield str(error)


if __name__ == "__main__":
    sys.exit(main())
