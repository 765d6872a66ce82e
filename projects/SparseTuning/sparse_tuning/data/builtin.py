"""The sets that Sparse-Tuning is measured on, registered for the folders that they are unpacked into.

Below ``$DETECTRON2_DATASETS`` (default ``datasets``):

    vtab-1k/SET/{train800val200,train800,val200,test}.txt and the images they name
                                        vtab_SET_train, vtab_SET_test; vtab_SET_tune (train800), vtab_SET_val (val200)
    torchvision/ (its root)             cifar100_train, cifar100_test, and so on for all of torchvision's
    tiny-imagenet-200/{train,val}/      tiny_imagenet_train, tiny_imagenet_val
    kinetics400/{train,val}/CLASS/CLIP/FRAME.jpg, ssv2/... alike      kinetics400_train, kinetics400_val, ssv2_train, ssv2_val
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from effowt_d2.data.datasets.registration import DATASET_KINDS

from .arrays import SETS, read_torchvision
from .catalog import register_images
from .images import ImageSet
from .layouts import LAYOUTS

__all__ = ["CLIP_FRAMES", "VTAB", "register_all", "register_layouts"]

VTAB = (
    *("caltech101", "cifar", "dtd", "oxford_flowers102", "oxford_iiit_pet", "sun397", "svhn"),
    *("diabetic_retinopathy", "eurosat", "patch_camelyon", "resisc45"),
    *("clevr_count", "clevr_dist", "dmlab", "dsprites_loc", "dsprites_ori", "kitti", "smallnorb_azi", "smallnorb_ele"),
)
"""VTAB-1K's sets, by the names of their folders: natural, specialised, structured."""

CLIP_FRAMES = (4, 8, 16, 32)
"""Frames of a clip that ``frame_folder_N`` takes; the sets above have 8."""

_LISTS = {"train": "train800val200", "tune": "train800", "val": "val200", "test": "test"}


def register_all(root: Path | None = None) -> None:
    """Register every set; nothing is read.

    Args:
        root: folder of the datasets; default ``$DETECTRON2_DATASETS``, else ``datasets``.
    """
    home = root or Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    for name in VTAB:
        folder = home / "vtab-1k" / name
        for part, file in _LISTS.items():
            load = partial(_read, "image_list", folder / f"{file}.txt", folder)
            register_images(f"vtab_{name}_{part}", load, split="test" if part == "test" else "train")
    for name in SETS:
        for part in ("train", "test"):
            register_images(f"{name}_{part}", partial(read_torchvision, name, part, home / "torchvision"), split=part)
    for part in ("train", "val"):
        tiny = home / "tiny-imagenet-200"
        split = "train" if part == "train" else "test"
        register_images(f"tiny_imagenet_{part}", partial(_read, "tiny_imagenet", tiny / part, tiny), split=split)
        for name in ("kinetics400", "ssv2"):
            load = partial(_read, "frame_folder", home / name / part, home / name / part)
            register_images(f"{name}_{part}", load, frames=8, split=split)


def register_layouts() -> None:
    """Let ``DATA.REGISTER`` and ``--register`` take sets of one's own.

    An entry is ``[name, source, folder, layout]``. The source is a list (``image_list``), ``train`` or ``val`` of the folder
    (``tiny_imagenet``), else the folder itself. Clips are ``frame_folder_8``, or another of :data:`CLIP_FRAMES`.
    """
    for layout in LAYOUTS.names():
        counts: dict[str, int] = {layout: 0}
        if layout == "frame_folder":
            counts = {f"{layout}_{count}": count for count in CLIP_FRAMES}
        for kind, frames in counts.items():
            DATASET_KINDS.register(kind)(partial(_register, layout, frames))


def _register(layout: str, frames: int, name: str, source: str, folder: str) -> None:
    load: Callable[[], ImageSet] = partial(_read, layout, Path(source), Path(folder))
    register_images(name, load, frames=frames)


def _read(layout: str, source: Path, folder: Path) -> ImageSet:
    return LAYOUTS.get(layout)(source, folder)
