"""The training loader ``clips``: frames of a video, or views of a still image, with all their labelled objects."""

import logging
from collections.abc import Callable, Sequence

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetFromList

from effowt_d2.data import TwoViewMapper
from effowt_d2.data.frame_pairs import video_key
from effowt_d2.data.loaders import LOADERS, TrainLoader, loader_of_records
from effowt_d2.data.training_records import load_training_records
from effowt_d2.utils.arguments import config_keys
from effowt_d2.utils.checks import check_count

__all__ = ["ClipMapper", "build_clip_loader", "clip_records"]

logger = logging.getLogger(__name__)


def clip_records(records: Sequence[dict]) -> list[dict]:
    """One record per video, or per still image: ``file_name`` of its first frame, its size, and ``frames``, all of them."""
    videos: dict = {}
    for number, record in enumerate(records):
        videos.setdefault(video_key(record) or number, []).append(record)
    groups = [sorted(frames, key=lambda frame: frame.get("frame_index", 0)) for frames in videos.values()]
    kept = ("file_name", "height", "width")
    return [{**{name: g[0][name] for name in kept if name in g[0]}, "frames": g} for g in groups]


class ClipMapper:
    """Draws frames of a record of :func:`clip_records`, and a view of each.

    Args:
        views: makes a view of a frame.
        length: frames of a clip. A video that has fewer gives several views of its last one.
        stride: most frames from one to the next.
    """

    @configurable
    def __init__(self, *, views: TwoViewMapper, length: int = 6, stride: int = 3):
        self.views = views
        self.length = check_count("length", length, 2)
        self.stride = check_count("stride", stride)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        return {"views": TwoViewMapper(cfg), "length": cfg.DATA.CLIP_LENGTH, "stride": cfg.DATA.CLIP_STRIDE}

    def __call__(self, record: dict) -> dict:
        """
        Returns:
            ``file_name``, and ``frames``: ``image`` and ``instances`` of each as in :class:`TwoViewMapper`; an object has the same
            of ``gt_ids`` in all of them.
        """
        frames = record["frames"]
        steps = np.random.randint(1, self.stride + 1, self.length - 1)
        first = np.random.randint(0, max(len(frames) - steps.sum(), 1))
        places = np.minimum(first + np.concatenate([[0], np.cumsum(steps)]), len(frames) - 1)
        return {"file_name": record["file_name"], "frames": [self.views.view(frames[p]) for p in places]}


@LOADERS.register("clips")
def build_clip_loader(cfg: CfgNode, mapper: Callable[[dict], dict] | None = None) -> TrainLoader:
    """Batches of clips; this process's part of every batch. Labels are those that detectors are trained on.

    Args:
        cfg: reads ``DATASETS.TRAIN``, ``DATA``, ``INPUT``, ``DATALOADER``, ``SOLVER.IMS_PER_BATCH``, ``SEED``, ``IMPORTS``.
        mapper: from a record of :func:`clip_records` to a sample; default :class:`ClipMapper`.

    Raises:
        ValueError: the data or an option does not serve.
    """
    with config_keys("DATA", length="DATA.CLIP_LENGTH", stride="DATA.CLIP_STRIDE"):
        mapper = mapper or ClipMapper(cfg)
    records = clip_records(load_training_records(cfg))
    logger.info("%d videos and still images to draw clips from", len(records))
    return loader_of_records(cfg, DatasetFromList(records, copy=False), mapper)
