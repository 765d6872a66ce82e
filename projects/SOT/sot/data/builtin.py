"""The public tracking datasets, registered for the folders that they are unpacked into.

Below ``$DETECTRON2_DATASETS`` (default ``datasets``):

    lasot/CLASS/CLASS-N/, lasot/training_set.txt, lasot/testing_set.txt      lasot_train, lasot_test
    lasot_ext/CLASS/CLASS-N/                                                 lasot_ext_test
    got10k/{train,val,test}/SEQUENCE/                                        got10k_train, got10k_val, got10k_test
    trackingnet/{TRAIN_0..TRAIN_11,TEST}/{frames,anno}/                      trackingnet_train, trackingnet_test
    tnl2k/{train,test}/SEQUENCE/                                             tnl2k_train, tnl2k_test
    coco/annotations/instances_{train,val}2017.json, coco/{train,val}2017/   sot_coco_2017_train, sot_coco_2017_val
    davis_tao/annotations/validation.json, davis_tao/frames/                 davis_tao_val
"""

import os
from functools import partial
from pathlib import Path

from effowt_d2.data.datasets.registration import DATASET_KINDS
from effowt_d2.formats import FORMATS

from .catalog import register_sequences
from .documents import read_document
from .layouts import LAYOUTS, read_layout

__all__ = ["register_all", "register_layouts"]

# name: layout, folder, list of sequences, rules, convention, files for the server
_LAID_OUT = {
    "lasot_train": ("lasot", "lasot", "lasot/training_set.txt", "lasot", "pytracking", ""),
    "lasot_test": ("lasot", "lasot", "lasot/testing_set.txt", "lasot", "pytracking", ""),
    "lasot_ext_test": ("lasot_ext", "lasot_ext", "", "lasot_ext", "pytracking", ""),
    "got10k_train": ("got10k", "got10k/train", "", "default", "got10k", ""),
    "got10k_val": ("got10k", "got10k/val", "", "default", "got10k", ""),
    "got10k_test": ("got10k", "got10k/test", "", "default", "got10k", "got10k"),
    "trackingnet_train": ("trackingnet", "trackingnet", "", "default", "trackingnet", ""),
    "trackingnet_test": ("trackingnet", "trackingnet/TEST", "", "default", "trackingnet", "trackingnet"),
    "tnl2k_train": ("tnl2k", "tnl2k/train", "", "default", "pytracking", ""),
    "tnl2k_test": ("tnl2k", "tnl2k/test", "", "default", "pytracking", ""),
}
# name: annotation file, image folder, format
_DOCUMENTS = {
    "sot_coco_2017_train": ("coco/annotations/instances_train2017.json", "coco/train2017", "coco"),
    "sot_coco_2017_val": ("coco/annotations/instances_val2017.json", "coco/val2017", "coco"),
    "davis_tao_val": ("davis_tao/annotations/validation.json", "davis_tao/frames", "tao"),
}


def register_all(root: Path | None = None) -> None:
    """Register every dataset; nothing is read.

    Args:
        root: folder of the datasets; default ``$DETECTRON2_DATASETS``, else ``datasets``.
    """
    home = root or Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for name, (layout, folder, names, rules, convention, submission) in _LAID_OUT.items():
        load = partial(read_layout, layout, home / folder, home / names if names else None)
        split = "train" if name.endswith("train") else "test"
        register_sequences(name, load, rules=rules, convention=convention, submission=submission, split=split)
    for name, (file, images, format) in _DOCUMENTS.items():
        load = partial(read_document, home / file, home / images, format)
        register_sequences(name, load, split="train" if name.endswith("train") else "test")


def register_layouts() -> None:
    """Let ``DATA.REGISTER`` and ``--register`` take datasets of one's own.

    An entry is ``[name, source, folder, layout]``: the source is a text file that lists sequences, or the folder itself for
    all of them. With the plugin's formats, ``sot_coco``, ``sot_tao``, ``sot_mot`` and so on, it is the annotation file, and
    the folder that of the images.
    """
    for layout in LAYOUTS.names():
        DATASET_KINDS.register(layout)(partial(_register_layout, layout))
    for format in FORMATS:
        DATASET_KINDS.register(f"sot_{format}")(partial(_register_document, format))


def _register_layout(layout: str, name: str, source: str, root: str) -> None:
    names = None if Path(source) == Path(root) else Path(source)
    rules = layout if layout.startswith("lasot") else "default"
    convention = layout if layout in ("got10k", "trackingnet") else "pytracking"
    register_sequences(name, partial(read_layout, layout, Path(root), names), rules=rules, convention=convention)


def _register_document(format: str, name: str, source: str, root: str) -> None:
    register_sequences(name, partial(read_document, Path(source), Path(root), format))
