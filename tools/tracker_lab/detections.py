"""The detections of a video dataset: made once by the network, used by many trackers.

A file of them says which network made them, from which dataset, so that they are not taken for those of another.

Letters: N detections of a frame, E embedding channels.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn
from tqdm import tqdm

from effowt_d2.data import build_video_test_loader
from effowt_d2.utils.files import write_atomically

__all__ = ["FrameDetections", "detect", "load_detections", "made_by", "save_detections", "videos_of"]


@dataclass(frozen=True)
class FrameDetections:
    """What the network found in one frame.

    Attributes:
        video_id, image_id, frame_index: of the frame.
        frame_rate: processed frames per second, or 0 where it is not known.
        boxes: (N, 4) x1, y1, x2, y2 in pixels of the frame's file.
        scores: (N,).
        embeddings: (N, E).
    """

    video_id: int
    image_id: int
    frame_index: int
    frame_rate: float
    boxes: Tensor
    scores: Tensor
    embeddings: Tensor


class _Recorder:
    """Takes the place of a video's state: keeps the detections instead of tracking them."""

    def __init__(self) -> None:
        self.frames: list[Instances] = []

    def associate(self, instances: Instances, frame_index: int) -> Tensor:
        self.frames.append(instances.to("cpu"))
        return torch.full((len(instances),), -1)


@torch.inference_mode()
def detect(cfg: CfgNode, model: nn.Module, dataset: str) -> list[FrameDetections]:
    """Run an ``OpenWorldTracker`` over a dataset of videos.

    Args:
        cfg: how frames are read and resized.
        model: in eval mode, with its weights.
        dataset: name in Detectron2's catalogs.
    """
    found = []
    for batch in tqdm(build_video_test_loader(cfg, dataset), unit="batch", desc=dataset, disable=None):
        recorder = _Recorder()
        model([dict(frame, state=recorder) for frame in batch])
        found += [_frame(x, instances) for x, instances in zip(batch, recorder.frames)]
    return found


def _frame(x: dict, instances: Instances) -> FrameDetections:
    return FrameDetections(
        video_id=x["video_id"],
        image_id=x["image_id"],
        frame_index=x["frame_index"],
        frame_rate=float(x.get("frame_rate") or 0),
        boxes=instances.pred_boxes.tensor,
        scores=instances.scores,
        embeddings=instances.embeddings,
    )


def made_by(cfg: CfgNode, dataset: str) -> dict[str, str]:
    """What detections depend on, under names for messages: weights, model and image sizes, dataset, limit."""
    model = cfg.MODEL.clone()
    model.WEIGHTS, model.DEVICE = "", ""
    settings = f"{model.dump()} {cfg.INPUT.MIN_SIZE_TEST} {cfg.INPUT.MAX_SIZE_TEST} {cfg.INPUT.FORMAT}"
    weights = hashlib.sha256()
    with PathManager.open(cfg.MODEL.WEIGHTS, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            weights.update(block)
    return {
        "MODEL.WEIGHTS": weights.hexdigest(),
        "MODEL or INPUT": hashlib.sha256(settings.encode()).hexdigest(),
        "dataset": f"{dataset} {MetadataCatalog.get(dataset).get('json_file', '')}",
        "TEST.DETECTIONS_PER_IMAGE": str(cfg.TEST.DETECTIONS_PER_IMAGE),
    }


def save_detections(frames: list[FrameDetections], path: Path, source: Mapping[str, str]) -> None:
    """Write detections to a file of NumPy's format ``.npz``, and what they depend on, see :func:`made_by`."""
    numbers = np.array([(f.video_id, f.image_id, f.frame_index, len(f.scores)) for f in frames], dtype=np.int64)
    columns = {
        name: torch.cat([getattr(f, name) for f in frames]).numpy() for name in ("boxes", "scores", "embeddings")
    }
    columns.update(frames=numbers, frame_rates=np.array([f.frame_rate for f in frames]))
    write_atomically(path, lambda stream: np.savez(stream, source=json.dumps(dict(source)), **columns))


def load_detections(path: Path, source: Mapping[str, str]) -> list[FrameDetections]:
    """Read what :func:`save_detections` wrote.

    Raises:
        ValueError: the file holds something else, or detections that depend on something else than ``source``.
    """
    columns = _read_columns(path)
    kept = json.loads(str(columns.pop("source")))
    # of more detections, the trackers take the best
    fewer = int(kept["TEST.DETECTIONS_PER_IMAGE"]) < int(source["TEST.DETECTIONS_PER_IMAGE"])
    other = [name for name in source if kept[name] != source[name] and (fewer or name != "TEST.DETECTIONS_PER_IMAGE")]
    if other:
        raise ValueError(
            f"{path} holds detections of another {', another '.join(other)}: remove it to make it again, or name another file"
        )
    frames, rates = columns.pop("frames"), columns.pop("frame_rates")
    parts = {name: torch.from_numpy(column).split(frames[:, 3].tolist()) for name, column in columns.items()}
    return [
        FrameDetections(
            *(int(n) for n in row[:3]), float(rates[i]), parts["boxes"][i], parts["scores"][i], parts["embeddings"][i]
        )
        for i, row in enumerate(frames)
    ]


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    names = ("boxes", "scores", "embeddings", "frames", "frame_rates", "source")
    try:
        with np.load(path) as file:
            missing = [name for name in names if name not in file]
            if not missing:
                return {name: file[name] for name in names}
    # what NumPy and zipfile raise for files that are damaged, empty, or of another format
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile) as problem:
        raise ValueError(f"{path} is damaged or no file of detections (.npz): {problem}") from problem
    raise ValueError(f"{path} holds no detections: it lacks {', '.join(missing)}")


def videos_of(frames: list[FrameDetections]) -> Iterator[list[FrameDetections]]:
    """The frames of each video in the order of time."""
    ordered = sorted(frames, key=lambda f: (f.video_id, f.frame_index))
    for _, video in groupby(ordered, key=lambda f: f.video_id):
        yield list(video)
