"""Sets of labelled images in Detectron2's catalogs."""

from collections.abc import Callable, Sequence
from functools import cache

from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.formats import DatasetError

from .images import ImageSet, records_of

__all__ = ["classes_of", "load_images", "register_images", "same_classes"]

_LOADERS: dict[str, Callable[[], ImageSet]] = {}


def register_images(name: str, load: Callable[[], ImageSet], *, frames: int = 0, split: str = "own") -> None:
    """Register a set; nothing is read before it is used, and then only once in a process.

    Args:
        name: its name in Detectron2's catalogs.
        load: reads it.
        frames: of each clip; 0 for a set of images.
        split: "test" refuses training.
    """
    _LOADERS[name] = cache(load)
    DatasetCatalog.register(name, lambda: records_of(load_images(name), frames))
    MetadataCatalog.get(name).set(
        thing_classes=["object"],
        evaluator_type="classification",
        split=split,
        frames=frames,
        batch_images=not frames,
    )


def load_images(name: str) -> ImageSet:
    """A registered set.

    Raises:
        ValueError: it is not registered as one of labelled images.
        DatasetError, FileNotFoundError: it cannot be read; names the dataset.
    """
    if name not in _LOADERS or name not in DatasetCatalog.list():
        known = ", ".join(sorted(_LOADERS)) or "none"
        raise ValueError(f"dataset '{name}' is not registered as one of labelled images; these are: {known}")
    try:
        return _LOADERS[name]()
    except (DatasetError, FileNotFoundError) as error:
        raise type(error)(f"dataset '{name}': {error}") from None


def classes_of(name: str) -> tuple[str, ...]:
    """Names of its classes, by number; errors as :func:`load_images`."""
    return load_images(name).classes


def same_classes(names: Sequence[str]) -> tuple[str, ...]:
    """The classes of several sets.

    Raises:
        ValueError: they differ, or there is none.
    """
    if not names:
        raise ValueError("DATASETS.TRAIN is empty: it must name a dataset of labelled images")
    first, *others = names
    classes = classes_of(first)
    for other in others:
        if classes_of(other) != classes:
            differing = sorted(set(classes) ^ set(classes_of(other))) or "their order"
            raise ValueError(
                f"datasets '{first}' and '{other}' have {len(classes)} and {len(classes_of(other))} classes, which must be "
                f"the same; they differ in {differing[:8]}"
            )
    return classes
