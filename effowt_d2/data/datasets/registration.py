"""Custom datasets in Detectron2's catalogs, from the config or the command line."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from effowt_d2.formats import FORMATS, DatasetError
from effowt_d2.utils.registry import Registry

from .records import DatasetRecords, load_records

__all__ = [
    "DATASET_KINDS",
    "add_register_option",
    "register_datasets",
    "register_entries",
    "register_file",
    "take_registrations",
]

DATASET_KINDS: Registry[Callable[[str, str, str], None]] = Registry("kinds of datasets", argument="format")
"""Functions ``(name, source, folder)`` that register a dataset of another kind than :data:`effowt_d2.formats.FORMATS`, by the
format that ``DATA.REGISTER`` gives; projects add theirs."""

OWN = "own"
"""The ``split`` of a dataset that may be trained and evaluated on."""


def register_file(
    name: str,
    source: str | os.PathLike,
    image_root: str | os.PathLike,
    format: str = "",
    *,
    split: str = OWN,
    hint: str = "",
    frame_rate: float | None = None,
) -> None:
    """Register a dataset; nothing is read before it is used.

    Args:
        name: its name in Detectron2's catalogs.
        source, image_root, format, frame_rate: see :func:`effowt_d2.data.datasets.records.load_records`.
        split: training refuses videos of all but "train" and "own".
        hint: a sentence on where the files come from, for the error.
    """
    source, image_root = os.fspath(source), os.fspath(image_root)

    def load() -> DatasetRecords:
        try:
            return load_records(source, image_root, format, frame_rate)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"dataset '{name}': {error}{hint and '; ' + hint}") from None
        except DatasetError as error:
            raise DatasetError(f"dataset '{name}': {error}") from None

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        thing_classes=["object"],
        json_file=source,
        image_root=image_root,
        evaluator_type={"coco": "coco", "": "auto"}.get(format, "tao_ow"),
        split=split,
        format=format,
    )


def register_datasets(cfg: CfgNode) -> None:
    """:func:`register_entries` of ``DATA.REGISTER``; to be called in every process that uses them."""
    register_entries(cfg.DATA.REGISTER, "DATA.REGISTER")


def register_entries(entries: Sequence[Sequence[str]], where: str) -> None:
    """Register datasets.

    Args:
        entries: ``[name, annotation file, image folder]`` with the format as a fourth, detected where it is missing, or
            one of :data:`DATASET_KINDS`. A name that is registered with the same files already is left alone.
        where: what has them, for errors.

    Raises:
        ValueError: an entry is malformed, its format unknown, or its name taken by another dataset.
    """
    for number, entry in enumerate(entries):
        name, source, image_root, format = _entry(entry, f"{where}[{number}]")
        if name not in DatasetCatalog.list():
            _register(name, source, image_root, format)
            continue
        metadata = MetadataCatalog.get(name)
        there = tuple(metadata.get(key, None) for key in ("json_file", "image_root", "format"))
        if there != (source, image_root, format):
            raise ValueError(
                f"{where}[{number}]: the name '{name}' is taken by another dataset ({there[0] or 'no file'})"
            )


def _register(name: str, source: str, image_root: str, format: str) -> None:
    if format not in DATASET_KINDS.names():
        register_file(name, source, image_root, format)
        return
    DATASET_KINDS.get(format)(name, source, image_root)
    MetadataCatalog.get(name).set(json_file=source, image_root=image_root, format=format, split=OWN)


def _formats() -> tuple[str, ...]:
    return ("", *FORMATS, *DATASET_KINDS.names())


def _known() -> str:
    return ", ".join(_formats()[1:])


def _parts(entry: Sequence[str], where: str) -> tuple[str, str, str, str]:
    """Name, annotation file, image folder and format, which may be of a project that is not imported yet."""
    shape = isinstance(entry, (list, tuple)) and len(entry) in (3, 4) and all(isinstance(e, str) for e in entry)
    if not shape or not all(entry[:3]):
        raise ValueError(f"{where}: expected [name, annotation file, image folder] and maybe a format, got {entry!r}")
    name, source, image_root, format = (*entry, "")[:4]
    return name, str(Path(source).expanduser()), str(Path(image_root).expanduser()), format


def _entry(entry: Sequence[str], where: str) -> tuple[str, str, str, str]:
    """:func:`_parts`, of a format that exists."""
    parts = _parts(entry, where)
    if parts[3] not in _formats():
        raise ValueError(f"{where}: unknown format '{parts[3]}'; the formats are {_known()}")
    return parts


def add_register_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--register NAME JSON IMAGES [FORMAT]``, which may be given several times."""
    parser.add_argument(
        "--register",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME JSON IMAGES [FORMAT]", ""),
        help=f"a custom dataset: its name, annotation file, image folder and format ({', '.join(FORMATS)}; "
        "detected by default); may be given several times",
    )


def take_registrations(args: argparse.Namespace) -> list[list[str]]:
    """The entries of ``--register`` as ``DATA.REGISTER`` has them.

    What follows the last one on the command line, ``KEY VALUE`` pairs, goes to ``args.opts``.

    Raises:
        ValueError: an entry has too few or too many parts.
    """
    entries = []
    # scripts with a parser of Detectron2's own have no such option
    register = getattr(args, "register", ())
    for number, given in enumerate(register):
        # keys have capitals; whether there is such a format is known when the config's IMPORTS are
        size = 4 if len(given) > 3 and given[3].islower() else 3
        entry, rest = given[:size], given[size:]
        if rest and (number < len(register) - 1 or not hasattr(args, "opts")):
            raise ValueError(
                f"--register {' '.join(given)}: expected NAME SOURCE FOLDER [FORMAT]; the formats are {_known()}"
            )
        if rest:
            args.opts = [*rest, *args.opts]
        entries.append(list(_parts(entry, f"--register {' '.join(given)}")))
    return entries
