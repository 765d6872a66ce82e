"""The small sets of torchvision, where they lie on disk: nothing is downloaded.

Some of them keep all images in a few arrays, which have no files. Their records name an image as
``torchvision://SET/SPLIT/NUMBER?root=FOLDER``, and a path handler gives it out as a PNG file.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torchvision.datasets as sets
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import PathHandler

from effowt_d2.formats import DatasetError

from .images import ImageSet, Labelled

__all__ = ["SETS", "read_torchvision", "register_handler"]

PREFIX = "torchvision://"


def _by_flag(kind: type) -> Callable[..., Any]:
    return lambda root, split: kind(root, train=split == "train")


def _by_split(kind: type, **names: str) -> Callable[..., Any]:
    return lambda root, split: kind(root, split=names.get(split, split))


SETS: dict[str, Callable[..., Any]] = {
    "cifar10": _by_flag(sets.CIFAR10),
    "cifar100": _by_flag(sets.CIFAR100),
    "mnist": _by_flag(sets.MNIST),
    "fashion_mnist": _by_flag(sets.FashionMNIST),
    "svhn": _by_split(sets.SVHN),
    "stl10": _by_split(sets.STL10),
    "food101": _by_split(sets.Food101),
    "flowers102": _by_split(sets.Flowers102),
    "dtd": _by_split(sets.DTD),
    "gtsrb": _by_split(sets.GTSRB),
    "oxford_iiit_pet": _by_split(sets.OxfordIIITPet, train="trainval"),
    "fgvc_aircraft": _by_split(sets.FGVCAircraft, train="trainval"),
    "stanford_cars": _by_split(sets.StanfordCars),
}
"""Functions ``(root, split)`` with split ``train`` or ``test``, by the set's name."""


def read_torchvision(name: str, split: str, root: Path) -> ImageSet:
    """A set of torchvision from the folder that torchvision unpacks it into.

    Args:
        name: of :data:`SETS`.
        split: ``train`` or ``test``.
        root: torchvision's ``root``.

    Raises:
        FileNotFoundError: it is not there.
        DatasetError: it cannot be read.
    """
    images = _opened(name, split, str(root))
    labels = [int(label) for label in _labels(images)]
    classes = getattr(images, "classes", None) or [str(number) for number in range(max(labels, default=0) + 1)]
    files = [f"{PREFIX}{name}/{split}/{number}?root={root}" for number in range(len(labels))]
    return ImageSet(tuple(map(str, classes)), tuple(Labelled((file,), label) for file, label in zip(files, labels)))


@lru_cache(maxsize=4)
def _opened(name: str, split: str, root: str) -> Any:
    try:
        return SETS[name](root, split)
    except (RuntimeError, FileNotFoundError) as error:
        raise FileNotFoundError(f"torchvision's {name} is not in {root}, or not complete: {error}") from None
    except (OSError, EOFError, ValueError) as error:
        raise DatasetError(f"torchvision's {name} in {root} cannot be read: {error}") from error


def _labels(images: Any) -> list[int]:
    """Without decoding an image; torchvision has several names for them."""
    for attribute in ("targets", "labels", "_labels"):
        found = getattr(images, attribute, None)
        if found is not None:
            return list(found)
    return [label for _, label in images._samples]


class TorchvisionHandler(PathHandler):
    """Gives out an image of a set as a PNG file."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **_: Any) -> io.BytesIO:
        if "b" not in mode or "w" in mode:
            raise ValueError(f"{path}: images of torchvision are read as bytes, mode {mode!r} is not supported")
        parts = urlsplit(path)
        split, number = parts.path.strip("/").split("/")
        image, _ = _opened(parts.netloc, split, parse_qs(parts.query)["root"][0])[int(number)]
        stream = io.BytesIO()
        image.save(stream, format="PNG", compress_level=0)
        stream.seek(0)
        return stream


def register_handler() -> None:
    """Let Detectron2's path manager open ``torchvision://``."""
    PathManager.register_handler(TorchvisionHandler(), allow_override=True)
