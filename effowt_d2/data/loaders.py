"""Loaders for training (two views of still images) and for inference (whole videos, frames in order)."""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetFromList, MetadataCatalog
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.imports import import_modules
from effowt_d2.utils.registry import Registry

from .frame_pairs import FramePairs, video_key
from .image_files import existing_records
from .mappers import FrameMapper, find_mapper
from .training_records import load_training_records
from .training_sampler import TrainingBatches
from .video_sampler import VideoBatches
from .views import seeded
from .worker_watch import WorkerWatch

__all__ = [
    "LOADERS",
    "SeededDataset",
    "TrainLoader",
    "build_train_loader",
    "build_video_test_loader",
    "find_loader",
    "load_frame_records",
    "loader_of_records",
]

logger = logging.getLogger(__name__)

LOADERS: Registry[Callable[..., "TrainLoader"]] = Registry("training loaders", argument="loader")
"""Functions ``(cfg, mapper=None)`` that make the training loader of a config; ``DATA.LOADER`` names one."""


class TrainLoader:
    """Batches of mapped records without end, the same whatever the number of data workers.

    What batch k holds, augmentation included, depends on the seed and on k only, so a run that resumes at k
    goes on exactly as though it had never stopped, and n processes see together what one would see.

    Args:
        dataset: samples by (place in the stream, record).
        batches: which samples make a batch; ``start`` is set by the trainer when it resumes.
        num_workers: data worker processes; 0 loads in this process.
        imports: modules that a data worker imports before it begins.
    """

    def __init__(
        self, *, dataset: Dataset, batches: TrainingBatches, num_workers: int = 0, imports: Sequence[str] = ()
    ):
        self.dataset = dataset
        self.batches = batches
        self.num_workers = num_workers
        self.imports = imports

    def __iter__(self) -> Iterator[list[dict]]:
        # a generator: the workers start with the first batch, after a resuming trainer has set the start
        yield from DataLoader(
            self.dataset,
            batch_sampler=self.batches,
            num_workers=self.num_workers,
            collate_fn=_as_list,
            worker_init_fn=functools.partial(_start_worker, tuple(self.imports)),
            # one of its own, or it would draw from the stream of the training step that starts it
            generator=torch.Generator().manual_seed(self.batches.seed),
        )


class SeededDataset(Dataset):
    """Samples by (place in the stream, record), each with random numbers of its own.

    Args:
        records: dicts with a ``file_name``.
        mapper: makes a sample of a record.
        seed: of the run.
        num_workers: data workers of the loader.
    """

    def __init__(self, records: Dataset, mapper: Callable[[dict], dict], seed: int, num_workers: int):
        self.records = records
        self.mapper = mapper
        self.seed = seed
        self.watch = WorkerWatch(records, num_workers)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place: tuple[int, int]) -> dict:
        position, index = place
        with self.watch.at(index), seeded((self.seed, position)):
            return self.mapper(self.records[index])


class _MappedDataset(Dataset):
    def __init__(self, records: Dataset, mapper: Callable[[dict], dict], num_workers: int):
        self.records = records
        self.mapper = mapper
        self.watch = WorkerWatch(records, num_workers)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        with self.watch.at(index):
            return self.mapper(self.records[index])


def _as_list(batch: list) -> list:
    return batch


def _start_worker(imports: Sequence[str], worker: int) -> None:
    # unlike a forked process, one that is spawned has only what unpickling the dataset imports
    import_modules(imports)


def find_loader(cfg: CfgNode) -> Callable[..., TrainLoader]:
    """The factory of the loader named by ``DATA.LOADER``.

    Raises:
        ValueError: it is not registered.
    """
    with config_keys("DATA"):
        return LOADERS.get(cfg.DATA.LOADER)


def build_train_loader(cfg: CfgNode, mapper: Callable[[dict], dict] | None = None) -> TrainLoader:
    """The training loader that ``DATA.LOADER`` names; this process's part of every batch.

    Args:
        cfg: the whole config.
        mapper: in place of the loader's own.
    """
    return find_loader(cfg)(cfg, mapper)


@LOADERS.register("images")
def build_image_loader(cfg: CfgNode, mapper: Callable[[dict], dict] | None = None) -> TrainLoader:
    """Still images and video frames, mapped one by one.

    Args:
        cfg: reads ``DATASETS.TRAIN``, ``DATA``, ``INPUT``, ``DATALOADER``, ``SOLVER.IMS_PER_BATCH``, ``SEED``,
            ``IMPORTS``.
        mapper: from a record to a sample; default: the one that ``DATA.MAPPER`` names.

    Raises:
        ValueError: the data or an option does not serve, see :func:`load_training_records`; an unknown mapper; the
            batch cannot be shared equally by the processes.
    """
    sampler = cfg.DATALOADER.SAMPLER_TRAIN
    if sampler != "TrainingSampler":
        raise ValueError(f"DATALOADER.SAMPLER_TRAIN is '{sampler}'; it can be TrainingSampler only")
    mapper = mapper or find_mapper(cfg)(cfg)
    records = load_training_records(cfg)
    listed: Dataset = DatasetFromList(records, copy=False)
    if cfg.DATA.REFERENCE_GAP:
        with config_keys("DATA", gap="DATA.REFERENCE_GAP"):
            listed = FramePairs(listed, gap=cfg.DATA.REFERENCE_GAP)
        if all(video_key(record) is None for record in records):
            logger.warning(
                "DATA.REFERENCE_GAP is %d and has no effect: none of the training datasets (%s) has videos",
                cfg.DATA.REFERENCE_GAP,
                ", ".join(cfg.DATASETS.TRAIN),
            )
    return loader_of_records(
        cfg,
        listed,
        mapper,
        wide=[record.get("width", 0) > record.get("height", 0) for record in records],
        group_by_shape=cfg.DATALOADER.ASPECT_RATIO_GROUPING,
    )


def loader_of_records(
    cfg: CfgNode,
    records: Dataset,
    mapper: Callable[[dict], dict],
    *,
    wide: Sequence[bool] | None = None,
    group_by_shape: bool = False,
) -> TrainLoader:
    """A loader that draws every record equally often, each mapped with random numbers of its own.

    Args:
        cfg: reads ``DATALOADER.NUM_WORKERS``, ``SOLVER.IMS_PER_BATCH``, ``SEED``, ``IMPORTS``.
        records: dicts with a ``file_name``.
        mapper: makes a sample of a record.
        wide: of each record, whether it is wider than high; default: none is.
        group_by_shape: put wide records into batches of their own.

    Raises:
        ValueError: the batch cannot be shared equally by the processes.
    """
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    with config_keys("SOLVER", batch_size="SOLVER.IMS_PER_BATCH"):
        batches = TrainingBatches(
            wide=[False] * len(records) if wide is None else wide,
            batch_size=cfg.SOLVER.IMS_PER_BATCH,
            seed=seed,
            group_by_shape=group_by_shape,
            rank=comm.get_rank(),
            world_size=comm.get_world_size(),
        )
    num_workers = cfg.DATALOADER.NUM_WORKERS
    dataset = SeededDataset(records, mapper, seed, num_workers)
    return TrainLoader(dataset=dataset, batches=batches, num_workers=num_workers, imports=cfg.IMPORTS)


def load_frame_records(dataset_name: str) -> list[list[dict]]:
    """Load a dataset for inference.

    Args:
        dataset_name: name in Detectron2's catalogs.

    Returns:
        Records without annotations, video by video, in order of the dataset's ``frame_index``, which is then
        replaced by the position in the video. Still images (no ``video_id``) come as one sequence each, and
        without a ``frame_index``.

    Raises:
        ValueError: there are no images, or two frames of a video have the same ``frame_index``.
        KeyError: the dataset is not registered.
    """
    videos: dict = {}
    for number, record in enumerate(DatasetCatalog.get(dataset_name)):
        record = {name: value for name, value in record.items() if name != "annotations"}
        key = ("video", record["video_id"]) if "video_id" in record else ("image", number)
        videos.setdefault(key, []).append(record)
    if not videos:
        raise ValueError(f"dataset '{dataset_name}' has no images")
    for (kind, video_id), frames in videos.items():
        if kind == "image":
            continue
        frames.sort(key=lambda frame: frame["frame_index"])
        before = None
        for position, frame in enumerate(frames):
            if frame["frame_index"] == before:
                raise ValueError(f"dataset '{dataset_name}', video {video_id}: two frames have frame_index {before}")
            before, frame["frame_index"] = frame["frame_index"], position
    return list(videos.values())


def _existing(dataset_name: str, videos: list[list[dict]]) -> list[list[dict]]:
    kept = existing_records(dataset_name, [frame for frames in videos for frame in frames], skip=True)
    names = {frame["file_name"] for frame in kept}
    return [frames for frames in videos if frames[0]["file_name"] in names]


def _batched(dataset_name: str, videos: list[list[dict]], count: int) -> list[list[dict]]:
    """Still images by so many at once, where the dataset says so."""
    if not MetadataCatalog.get(dataset_name).get("batch_images") or count < 1:
        return videos
    images = [frame for frames in videos for frame in frames]
    return [images[first : first + count] for first in range(0, len(images), count)]


def build_video_test_loader(
    cfg: CfgNode, dataset_name: str, mapper: Callable[[dict], dict] | None = None
) -> DataLoader:
    """This process's videos, whole and frame by frame in order; still images work too.

    A batch holds frames of one video, or one still image. Where the dataset's metadata have ``batch_images``, still images
    are batched as frames are.

    Args:
        cfg: reads ``TEST.FRAMES_PER_BATCH``, ``DATALOADER.NUM_WORKERS``, ``INPUT``, ``DATA.SKIP_MISSING``, ``IMPORTS``.
        dataset_name: name in Detectron2's catalogs.
        mapper: from a record to the model's input; default :class:`FrameMapper`.

    Raises:
        ValueError, KeyError: as :func:`load_frame_records`.
    """
    records, videos = [], []
    listed = load_frame_records(dataset_name)
    if cfg.DATA.SKIP_MISSING:
        listed = _existing(dataset_name, listed)
    for frames in _batched(dataset_name, listed, cfg.TEST.FRAMES_PER_BATCH):
        videos.append(range(len(records), len(records) + len(frames)))
        records += frames
    with config_keys("TEST"):
        batches = VideoBatches(
            videos,
            frames_per_batch=cfg.TEST.FRAMES_PER_BATCH,
            rank=comm.get_rank(),
            world_size=comm.get_world_size(),
        )
    num_workers = cfg.DATALOADER.NUM_WORKERS
    dataset = _MappedDataset(DatasetFromList(records, copy=False), mapper or FrameMapper(cfg), num_workers)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_as_list,
        worker_init_fn=functools.partial(_start_worker, tuple(cfg.IMPORTS)),
    )
