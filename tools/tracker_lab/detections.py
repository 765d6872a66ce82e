"""The detections of a video dataset: made once by the network, used by many trackers.

Letters: N detections of a frame, E embedding channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor, nn
from tqdm import tqdm

from effowt_d2.data import build_video_test_loader

__all__ = ["FrameDetections", "detect", "load_detections", "save_detections", "videos_of"]


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


def save_detections(frames: list[FrameDetections], path: Path) -> None:
    """Write detections to a file (.npz)."""
    numbers = np.array([(f.video_id, f.image_id, f.frame_index, len(f.scores)) for f in frames], dtype=np.int64)
    columns = {
        name: torch.cat([getattr(f, name) for f in frames]).numpy() for name in ("boxes", "scores", "embeddings")
    }
    np.savez(path, frames=numbers, frame_rates=np.array([f.frame_rate for f in frames]), **columns)


def load_detections(path: Path) -> list[FrameDetections]:
    """Read what :func:`save_detections` wrote.

    Raises:
        ValueError: the file holds something else.
    """
    with np.load(path) as file:
        missing = {"frames", "frame_rates", "boxes", "scores", "embeddings"} - set(file)
        if missing:
            raise ValueError(f"{path} holds no detections: it lacks {', '.join(sorted(missing))}")
        columns = {name: torch.from_numpy(file[name]) for name in ("boxes", "scores", "embeddings")}
        frames, rates = file["frames"], file["frame_rates"]
    parts = {name: column.split(frames[:, 3].tolist()) for name, column in columns.items()}
    return [
        FrameDetections(
            *(int(n) for n in row[:3]), float(rates[i]), parts["boxes"][i], parts["scores"][i], parts["embeddings"][i]
        )
        for i, row in enumerate(frames)
    ]


def videos_of(frames: list[FrameDetections]) -> Iterator[list[FrameDetections]]:
    """The frames of each video in the order of time."""
    ordered = sorted(frames, key=lambda f: (f.video_id, f.frame_index))
    for _, video in groupby(ordered, key=lambda f: f.video_id):
        yield list(video)
