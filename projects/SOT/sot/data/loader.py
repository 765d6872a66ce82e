"""The training loader of trackers: ``DATA.LOADER sot``."""

import logging
from collections.abc import Callable
from functools import partial

from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, MetadataCatalog
from detectron2.utils import comm

from effowt_d2.data.image_files import check_readable
from effowt_d2.data.loaders import LOADERS, TrainLoader
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_choice
from effowt_d2.utils.main_process import on_main_process
from sot.crops import ContextCrop
from sot.square_crop import CROPS, SquareCrop

from .augmentation import CropAugmentation
from .batches import MixedBatches
from .catalog import load_sequences
from .frame_clips import FrameClipMapper
from .jitter import CropJitter
from .sampling import SAMPLERS
from .sequence import TargetSequence
from .training import ClipDataset, ClipMapper

__all__ = ["build_clip_loader", "build_crops"]

logger = logging.getLogger(__name__)


def build_crops(cfg: CfgNode) -> tuple[ContextCrop, ContextCrop] | tuple[SquareCrop, SquareCrop]:
    """The crop policies of ``INPUT.SOT`` for template and search region."""
    node = cfg.INPUT.SOT
    square = check_choice("INPUT.SOT.CROP", node.CROP, CROPS) != "context"
    kind = partial(SquareCrop, released=node.CROP == "square_released") if square else ContextCrop
    with config_keys("INPUT.SOT", size="INPUT.SOT.TEMPLATE_SIZE", factor="INPUT.SOT.TEMPLATE_FACTOR"):
        template = kind(size=node.TEMPLATE_SIZE, factor=node.TEMPLATE_FACTOR)
    with config_keys("INPUT.SOT", size="INPUT.SOT.SEARCH_SIZE", factor="INPUT.SOT.SEARCH_FACTOR"):
        least = {} if square else {"min_side": node.MIN_SIDE}
        return template, kind(size=node.SEARCH_SIZE, factor=node.SEARCH_FACTOR, **least)


@LOADERS.register("sot")
def build_clip_loader(cfg: CfgNode, mapper: Callable[[TargetSequence], dict | None] | None = None) -> TrainLoader:
    """Batches of samples of :class:`sot.data.training.ClipMapper` or, with square crops,
    :class:`sot.data.frame_clips.FrameClipMapper`; this process's part of every batch.

    Args:
        cfg: reads ``DATASETS.TRAIN``, ``INPUT.SOT``, ``DATALOADER.NUM_WORKERS``, ``SOLVER.IMS_PER_BATCH``, ``SEED``,
            ``IMPORTS``.
        mapper: from a sequence to a sample or None; default the one that ``INPUT.SOT`` describes.

    Raises:
        ValueError: a dataset is not one of sequences or is for testing, or none of its sequences serves.
        DatasetError, FileNotFoundError, ImageReadError: a dataset cannot be read.
    """
    node = cfg.INPUT.SOT
    sampler_class = SAMPLERS.get(node.SAMPLER)
    with config_keys("INPUT.SOT"):
        sampler = sampler_class(**sampler_class.from_config(node))
    sets = [_usable(name, sampler) for name in cfg.DATASETS.TRAIN]
    records = [{"file_name": one.files[0], "sequence": one} for sequences in sets for one in sequences]
    on_main_process(lambda: check_readable(records, "RGB"))
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    with config_keys("INPUT.SOT", batch_size="SOLVER.IMS_PER_BATCH"):
        batches = MixedBatches(
            sizes=[len(sequences) for sequences in sets],
            weights=list(node.WEIGHTS),
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            seed=seed,
            rank=comm.get_rank(),
            world_size=comm.get_world_size(),
        )
    workers = cfg.DATALOADER.NUM_WORKERS
    dataset = ClipDataset(DatasetFromList(records, copy=False), mapper or _mapper(cfg, sampler), seed, workers)
    return TrainLoader(dataset=dataset, batches=batches, num_workers=workers, imports=cfg.IMPORTS)


def _mapper(cfg: CfgNode, sampler) -> ClipMapper | FrameClipMapper:
    node = cfg.INPUT.SOT
    template, search = build_crops(cfg)
    if isinstance(template, SquareCrop):
        with config_keys("INPUT.SOT", scale="INPUT.SOT.JITTER_SCALE", shift="INPUT.SOT.JITTER_SHIFT"):
            return FrameClipMapper(
                sampler=sampler,
                template=template,
                search=search,
                scale=node.JITTER_SCALE,
                shift=node.JITTER_SHIFT,
                augment=node.AUGMENT,
            )
    with config_keys("INPUT.SOT", scale="INPUT.SOT.JITTER_SCALE", shift="INPUT.SOT.JITTER_SHIFT"):
        jitter = CropJitter(scale=node.JITTER_SCALE, shift=node.JITTER_SHIFT, min_side=node.MIN_SIDE)
    augmentation = CropAugmentation() if node.AUGMENT else None
    return ClipMapper(sampler=sampler, template=template, search=search, jitter=jitter, augmentation=augmentation)


def _usable(name: str, sampler) -> list[TargetSequence]:
    if MetadataCatalog.get(name).get("split") == "test":
        raise ValueError(f"DATASETS.TRAIN has '{name}', whose sequences are for evaluation")
    sequences = load_sequences(name)
    withheld = [one.name for one in sequences if not one.annotated]
    if withheld:
        raise ValueError(
            f"DATASETS.TRAIN has '{name}', but the truth of {len(withheld)} sequences, such as '{withheld[0]}', is withheld"
        )
    usable = [one for one in sequences if sampler.fits(one)]
    if len(usable) < len(sequences):
        dropped = [one.name for one in sequences if not sampler.fits(one)]
        logger.warning("dataset '%s': %d sequences show the target too rarely: %s", name, len(dropped), dropped[:10])
    if not usable:
        raise ValueError(
            f"DATASETS.TRAIN has '{name}', none of whose {len(sequences)} sequences shows the target often enough"
        )
    logger.info("dataset '%s': %d sequences", name, len(usable))
    return usable
