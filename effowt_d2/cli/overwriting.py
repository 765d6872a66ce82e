"""Protects input files, and without ``--overwrite`` existing files, from being overwritten."""

import argparse
import glob
from pathlib import Path

from effowt_d2.video.descriptions import descriptions_path
from effowt_d2.video.image_files import is_image

__all__ = ["refuse_overwriting"]


def _images_of(source: str) -> list[Path]:
    """The images an input names; none where it's a video or a camera."""
    path = Path(source)
    if path.is_dir():
        return [file for file in path.iterdir() if is_image(file)]
    if not path.exists() and glob.has_magic(source):
        return [Path(match) for match in glob.glob(source)]
    return [path] if is_image(path) else []


def _places_read(args: argparse.Namespace) -> dict[Path, str]:
    """Inputs of the run: resolved files and image folders, with their option."""
    options = dict(
        gt=args.gt, vocabulary=args.vocabulary, mask=args.mask, weights=args.weights, config_file=args.config_file
    )
    given = {f"--{name.replace('_', '-')}": Path(value) for name, value in options.items() if value}
    # a name of the zoo and the vocabulary "tao" are no files
    places = {file.resolve(): name for name, file in given.items() if file.is_file()}
    for source in args.input:
        places[Path(source).resolve()] = "the input"
        for image in _images_of(source):
            places[image.resolve()] = "the input"
            # an image may be a link into another folder
            for folder in (image.parent.resolve(), image.resolve().parent):
                places.setdefault(folder, "the folder of the input")
    return places


def refuse_overwriting(args: argparse.Namespace) -> None:
    """Make sure that nothing is lost by writing.

    Raises:
        ValueError: an output would replace what is read, or another output.
        FileExistsError: an output is there, and ``--overwrite`` was not given. Of folders the writer knows.
    """
    taken = _places_read(args)
    results = [("results", file) for file in args.results]
    if args.describe:
        beside = dict.fromkeys(descriptions_path(file) for file in args.results)
        results += [("describe", str(path)) for path in beside]
    for name, target in [("output", args.output), *results, ("report", args.report), ("crops", args.crops)]:
        if not target:
            continue
        place = Path(target).resolve()
        if place in taken:
            raise ValueError(f"--{name} {target} is also {taken[place]}")
        taken[place] = f"--{name}"
        if place.exists() and not place.is_dir() and not args.overwrite:
            raise FileExistsError(f"--{name} {target} exists already; --overwrite replaces it")
