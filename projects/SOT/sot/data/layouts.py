"""Readers of the folders that tracking datasets come in; docs of each layout are at its reader.

A reader takes the root folder and a list of sequences, which is a text file or, as the same path as the root, all
sequences that are found.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from effowt_d2.formats import DatasetError
from effowt_d2.utils.registry import Registry
from effowt_d2.video.image_files import natural_order

from .sequence import TargetSequence
from .text_files import frame_files, ini_size, optional_text, read_boxes, read_flags, sequence_names

__all__ = ["LAYOUTS", "read_layout"]

Reader = Callable[[Path, str], TargetSequence]
LAYOUTS: Registry[type["Layout"]] = Registry("layouts of tracking datasets", argument="layout")
"""By name; a dataset of one's own in one of them is registered by ``DATA.REGISTER``."""


class Layout:
    """How the folder of a dataset is laid out.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root = root

    def names(self) -> Iterator[str]:
        """All sequences in the folder, in natural order."""
        raise NotImplementedError

    def read(self, name: str) -> TargetSequence:
        """One of them."""
        raise NotImplementedError

    def _below(self, *pattern: str) -> Iterator[Path]:
        for one in pattern:
            yield from sorted(self.root.glob(one), key=natural_order)


@LAYOUTS.register("lasot")
class LaSOT(Layout):
    """``CLASS/CLASS-N/{img/*.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt, nlp.txt}``, also without CLASS.

    Pixels count from 1 in ``groundtruth.txt``. A target is present unless it is fully occluded or out of view; without
    these two files it always is.
    """

    first_pixel = 1

    def names(self) -> Iterator[str]:
        for file in self._below("*/groundtruth.txt", "*/*/groundtruth.txt"):
            yield file.parent.name

    def read(self, name: str) -> TargetSequence:
        folder = self.root / name.rsplit("-", 1)[0] / name
        if not folder.is_dir():
            folder = self.root / name
        flags = [read_flags(folder / file, name) for file in ("full_occlusion.txt", "out_of_view.txt")]
        hidden = [flag != 0 for flag in flags if flag is not None]
        if len({len(flag) for flag in hidden}) > 1:
            raise DatasetError(
                f"sequence '{name}': full_occlusion.txt has {len(hidden[0])} flags, out_of_view.txt {len(hidden[1])}"
            )
        return TargetSequence(
            name=name,
            files=frame_files(folder / "img", name),
            boxes=read_boxes(folder / "groundtruth.txt", name, first_pixel=self.first_pixel),
            present=~np.any(hidden, axis=0) if hidden else np.zeros(0, dtype=bool),
            text=optional_text(folder / "nlp.txt"),
        )


@LAYOUTS.register("lasot_ext")
class LaSOTExtension(LaSOT):
    """As ``lasot``; pixels count from 0, as in the published results."""

    first_pixel = 0


@LAYOUTS.register("got10k")
class GOT10k(Layout):
    """``SEQUENCE/{*.jpg, groundtruth.txt, absence.label, cover.label, meta_info.ini}``; only the boxes are needed.

    A test sequence has the box of the first frame alone.
    """

    def names(self) -> Iterator[str]:
        if (self.root / "list.txt").is_file():
            yield from sequence_names(self.root / "list.txt")
            return
        for file in self._below("*/groundtruth.txt"):
            yield file.parent.name

    def read(self, name: str) -> TargetSequence:
        folder = self.root / name
        absence = read_flags(folder / "absence.label", name)
        return TargetSequence(
            name=name,
            files=frame_files(folder, name),
            boxes=read_boxes(folder / "groundtruth.txt", name),
            present=np.zeros(0, dtype=bool) if absence is None else absence == 0,
            cover=read_flags(folder / "cover.label", name),
            size=ini_size(folder / "meta_info.ini", name),
        )


@LAYOUTS.register("trackingnet")
class TrackingNet(Layout):
    """``{frames/SEQUENCE/0.jpg, 1.jpg, ..., anno/SEQUENCE.txt}``, in the root or in parts of it such as ``TRAIN_0``.

    A test sequence has the box of the first frame alone.
    """

    def names(self) -> Iterator[str]:
        for file in self._below("anno/*.txt", "*/anno/*.txt"):
            yield file.stem

    def read(self, name: str) -> TargetSequence:
        parts = [file.parents[1] for file in self._below(f"anno/{name}.txt", f"*/anno/{name}.txt")]
        if not parts:
            raise FileNotFoundError(f"sequence '{name}': neither {self.root} nor a part of it has anno/{name}.txt")
        return TargetSequence(
            name=name,
            files=frame_files(parts[0] / "frames" / name, name),
            boxes=read_boxes(parts[0] / "anno" / f"{name}.txt", name),
        )


@LAYOUTS.register("tnl2k")
class TNL2K(Layout):
    """``SEQUENCE/{imgs/*, groundtruth.txt, language.txt}``."""

    def names(self) -> Iterator[str]:
        for file in self._below("*/groundtruth.txt"):
            yield file.parent.name

    def read(self, name: str) -> TargetSequence:
        folder = self.root / name
        return TargetSequence(
            name=name,
            files=frame_files(folder / "imgs", name),
            boxes=read_boxes(folder / "groundtruth.txt", name),
            text=optional_text(folder / "language.txt"),
        )


def read_layout(layout: str, root: Path, names: Path | None = None) -> list[TargetSequence]:
    """Read a dataset.

    Args:
        layout: a name in :data:`LAYOUTS`.
        root: its folder.
        names: a text file with the name of a sequence a line; None for all in the folder.

    Raises:
        ValueError: an unknown layout.
        FileNotFoundError: a folder or file is missing.
        DatasetError: a sequence is malformed; names it. Or there are none.
    """
    found = LAYOUTS.get(layout)(root)
    if not root.is_dir():
        raise FileNotFoundError(f"the folder {root} is missing")
    chosen = sequence_names(names) if names is not None else list(found.names())
    if not chosen:
        raise DatasetError(f"{root} holds no sequence in the layout {layout}")
    return [found.read(name) for name in chosen]
