"""A trained model run over the frames of one video after the other."""

import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Instances

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.views import resize_frame
from effowt_d2.engine.step import inference_autocast
from effowt_d2.video import Frame, FrameTracks

from .time_split import MODEL_STAGES, TimeSplit, watch_model

__all__ = ["VideoPredictor", "check_weights"]


def check_weights(cfg: CfgNode) -> None:
    """Make sure that ``MODEL.WEIGHTS`` names a file, without opening it.

    Raises:
        ValueError: it is empty.
        FileNotFoundError: it names no file.
    """
    weights = cfg.MODEL.WEIGHTS
    if not weights:
        raise ValueError("MODEL.WEIGHTS is empty: it must name the checkpoint of a trained model")
    if "://" not in weights and not os.path.isfile(weights):
        raise FileNotFoundError(f"MODEL.WEIGHTS {weights}: no such file")


class VideoPredictor:
    """Detects and tracks in frames as they come.

    Frames are scaled as in evaluation (``INPUT.MIN_SIZE_TEST``, ``INPUT.MAX_SIZE_TEST``); boxes come back in
    the pixels of the frame. The model owns the tracker and resets it when the video changes.

    Args:
        cfg: config with ``MODEL.WEIGHTS`` set; a copy is kept.

    Attributes:
        times: seconds per stage of the model, scaling of the frames included.

    Raises:
        ValueError, FileNotFoundError: see :func:`check_weights`.
    """

    def __init__(self, cfg: CfgNode) -> None:
        check_weights(cfg)
        self.cfg = cfg.clone()
        self.model = build_model(self.cfg).eval()
        EffOWTCheckpointer(
            self.model, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE, complete=True, partial=cfg.MODEL.PARTIAL
        ).load(cfg.MODEL.WEIGHTS)
        self._video_id = 0
        self.times = TimeSplit(cfg.MODEL.DEVICE)
        watch_model(self.times, self.model)

    @property
    def seconds(self) -> float:
        """Time spent in the model so far."""
        return sum(self.times.seconds.get(stage, 0.0) for stage in MODEL_STAGES)

    def __call__(
        self, image: np.ndarray, video_id: int, frame_index: int, frame_rate: float | None = None
    ) -> Instances:
        """Detect and track in one frame.

        Args:
            image: (H, W, 3) BGR uint8.
            video_id: any number that tells this video from the one before.
            frame_index: place of the frame in the processed sequence; it increases within a video.
            frame_rate: processed frames per second, for ``TRACKER.MEMORY_SECONDS``.

        Returns:
            Instances on the CPU with ``pred_boxes``, ``scores`` and ``track_ids``.
        """
        place = dict(video_id=video_id, frame_index=frame_index, frame_rate=frame_rate)
        return self._detect([self._input(image, **place)])[0]

    def _input(self, image: np.ndarray, **place) -> dict:
        with self.times.stage("scaling"):
            height, width = image.shape[:2]
            if self.cfg.INPUT.FORMAT == "RGB":
                image = image[:, :, ::-1]
            tensor = resize_frame(image, self.cfg.INPUT.MIN_SIZE_TEST, self.cfg.INPUT.MAX_SIZE_TEST)
            return dict(image=tensor.float(), height=height, width=width, **place)

    def _detect(self, inputs: list[dict]) -> list[Instances]:
        with self.times.stage("heads"), torch.inference_mode(), inference_autocast(self.cfg):
            return [output["instances"].to("cpu") for output in self.model(inputs)]

    def track(self, frames: Iterable[Frame], fps: float) -> Iterator[FrameTracks]:
        """Track through a video, ``TEST.FRAMES_PER_BATCH`` frames at a time.

        Args:
            frames: the frames, in order.
            fps: how many of them make a second of the video.

        Yields:
            For each frame, the tracks in it.
        """
        self._video_id += 1
        place = dict(video_id=self._video_id, frame_rate=fps)
        together = self.cfg.TEST.FRAMES_PER_BATCH
        # the memory counts processed frames, so that leaving frames out does not make it forget sooner
        numbered = enumerate(frames)
        while chunk := list(itertools.islice(numbered, together)):
            found = self._detect([self._input(frame.image, frame_index=n, **place) for n, frame in chunk])
            for (_, frame), instances in zip(chunk, found):
                yield _frame_tracks(frame, instances[instances.track_ids >= 0])


def _frame_tracks(frame: Frame, instances: Instances) -> FrameTracks:
    return FrameTracks(
        index=frame.index,
        time=frame.time,
        name=frame.name,
        image=frame.image,
        boxes=instances.pred_boxes.tensor.numpy(),
        ids=instances.track_ids.numpy(),
        scores=instances.scores.numpy(),
    )
