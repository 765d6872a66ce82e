"""How sets of labelled images lie on disk."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from effowt_d2.formats import DatasetError
from effowt_d2.utils.registry import Registry

from .images import ImageSet, Labelled

__all__ = ["EXTENSIONS", "LAYOUTS"]

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")

LAYOUTS: Registry[Callable[[Path, Path], ImageSet]] = Registry("layouts of labelled images", argument="layout")
"""Functions ``(source, folder)`` that read a set; ``source`` is the folder itself, or a list in it."""


@LAYOUTS.register("image_folder")
def read_image_folder(source: Path, folder: Path) -> ImageSet:
    """``CLASS/**/IMAGE``: a folder for each class, numbered in the order of their names."""
    classes = _class_folders(folder)
    items = [Labelled((file,), label) for label, name in enumerate(classes) for file in _images(folder / name)]
    return ImageSet(classes, tuple(items))


@LAYOUTS.register("frame_folder")
def read_frame_folder(source: Path, folder: Path) -> ImageSet:
    """``CLASS/CLIP/FRAME``: clips as folders of frames, in the order of the frames' names."""
    classes, items = _class_folders(folder), []
    for label, name in enumerate(classes):
        for clip in sorted(path for path in (folder / name).iterdir() if path.is_dir()):
            frames = tuple(_images(clip))
            if not frames:
                raise DatasetError(f"clip {clip} has no frames")
            items.append(Labelled(frames, label))
    return ImageSet(classes, tuple(items))


@LAYOUTS.register("image_list")
def read_image_list(source: Path, folder: Path) -> ImageSet:
    """A text file of lines ``IMAGE LABEL``, as VTAB-1K's; classes are named by their numbers, from 0 to the largest of
    all lists beside it."""
    pairs = _read_list(source)
    most = max((label for other in source.parent.glob("*.txt") for _, label in _pairs_or_none(other)), default=0)
    items = [Labelled((str(folder / name),), label) for name, label in pairs]
    return ImageSet(tuple(str(number) for number in range(most + 1)), tuple(items))


@LAYOUTS.register("tiny_imagenet")
def read_tiny_imagenet(source: Path, folder: Path) -> ImageSet:
    """``train/WNID/images/IMAGE``, or ``val/images/IMAGE`` with ``val/val_annotations.txt``; ``source`` is one of the two."""
    classes = _class_folders(folder / "train")
    if source.name == "train":
        items = [Labelled((file,), label) for label, name in enumerate(classes) for file in _images(source / name)]
        return ImageSet(classes, tuple(items))
    numbers = {name: label for label, name in enumerate(classes)}
    items = []
    for line, text in _lines(source / "val_annotations.txt"):
        name, wnid = (*text.split("\t"), "", "")[:2]
        if wnid not in numbers:
            raise DatasetError(
                f"{source / 'val_annotations.txt'}, line {line}: no class {wnid!r} in {folder / 'train'}"
            )
        items.append(Labelled((str(source / "images" / name),), numbers[wnid]))
    return ImageSet(classes, tuple(items))


def _class_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; it holds a folder for each class")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not classes:
        raise DatasetError(f"{folder} has no folders of classes")
    return classes


def _images(folder: Path) -> list[str]:
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(str(path) for path in found if path.suffix.lower() in EXTENSIONS)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbers, from 1, and texts of the lines that are not empty."""
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is no UTF-8 text: {error}") from None
    yield from ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _read_list(file: Path) -> list[tuple[str, int]]:
    pairs = []
    for number, text in _lines(file):
        name, _, label = text.rpartition(" ")
        if not name.strip() or not label.isdecimal():
            raise DatasetError(f"{file}, line {number}: expected 'IMAGE LABEL', got {text!r}")
        pairs.append((name.strip(), int(label)))
    return pairs


def _pairs_or_none(file: Path) -> list[tuple[str, int]]:
    """Of another text file in the folder, which need not be a list."""
    try:
        return _read_list(file)
    except DatasetError:
        return []
