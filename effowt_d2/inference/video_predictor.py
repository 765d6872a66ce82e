"""A trained model run over the frames of one video after the other."""

import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Instances

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.views import resize_frame
from effowt_d2.engine.step import inference_autocast
from effowt_d2.modeling.meta_arch import VideoState
from effowt_d2.video import Frame, FrameTracks

from .time_split import MODEL_STAGES, TimeSplit, watch_model

__all__ = ["VideoPredictor", "check_following", "check_weights"]


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


def check_following(cfg: CfgNode, given: bool) -> None:
    """Make sure that the model of a config follows given boxes, or finds objects itself.

    Args:
        cfg: names the meta-architecture; those that follow boxes have a true attribute ``follows_boxes``.
        given: whether there are boxes.

    Raises:
        ValueError: it does the other.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    follows = getattr(META_ARCH_REGISTRY.get(name), "follows_boxes", False)
    if given and not follows:
        raise ValueError(
            f"MODEL.META_ARCHITECTURE {name} finds objects itself; a box can be given to trackers such as LoRAT"
        )
    if follows and not given:
        raise ValueError(
            f"MODEL.META_ARCHITECTURE {name} follows given boxes, and there is none (--box, or follow(boxes=...))"
        )


class VideoPredictor:
    """Detects and tracks in frames as they come.

    Frames are scaled as in evaluation (``INPUT.MIN_SIZE_TEST``, ``INPUT.MAX_SIZE_TEST``); boxes come back in
    the pixels of the frame. What is known of a video is in its state, which is the caller's.

    Args:
        cfg: config with ``MODEL.WEIGHTS`` set; a copy is kept.
        profile: whether time is measured, for which a GPU is waited for at every stage.

    Attributes:
        times: seconds per stage of the model, scaling of the frames included; empty unless ``profile``.

    Raises:
        ValueError, FileNotFoundError: see :func:`check_weights`.
    """

    def __init__(self, cfg: CfgNode, *, profile: bool = False) -> None:
        check_weights(cfg)
        self.cfg = cfg.clone()
        self.model = build_model(self.cfg).eval()
        EffOWTCheckpointer(
            self.model, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE, complete=True, partial=cfg.MODEL.PARTIAL
        ).load(cfg.MODEL.WEIGHTS)
        self.times = TimeSplit(cfg.MODEL.DEVICE, enabled=profile)
        watch_model(self.times, self.model)

    @property
    def seconds(self) -> float:
        """Time spent in the model so far."""
        return sum(self.times.seconds.get(stage, 0.0) for stage in MODEL_STAGES)

    def start(self, *, frame_rate: float | None = None, numbers: Iterator[int] | None = None) -> VideoState:
        """Begin a video, see :meth:`effowt_d2.modeling.meta_arch.OpenWorldTracker.start`."""
        return self.model.start(frame_rate=frame_rate, numbers=numbers)

    def __call__(self, state: VideoState, image: np.ndarray, frame_index: int) -> Instances:
        """Detect and track in one frame.

        Args:
            state: of the video; it is changed.
            image: (H, W, 3) BGR uint8.
            frame_index: place of the frame in the processed sequence; it increases within a video.

        Returns:
            Instances on the CPU with ``pred_boxes``, ``scores`` and ``track_ids``.
        """
        return self._detect(state, [self._input(image, frame_index)])[0]

    def _input(self, image: np.ndarray, frame_index: int) -> dict:
        with self.times.stage("scaling"):
            height, width = image.shape[:2]
            if self.cfg.INPUT.FORMAT == "RGB":
                image = image[:, :, ::-1]
            tensor = resize_frame(image, self.cfg.INPUT.MIN_SIZE_TEST, self.cfg.INPUT.MAX_SIZE_TEST)
            return dict(image=tensor.float(), height=height, width=width, frame_index=frame_index)

    def _detect(self, state: VideoState, inputs: list[dict]) -> list[Instances]:
        with self.times.stage("heads"), torch.inference_mode(), inference_autocast(self.cfg):
            _, found = self.model.step(state, inputs)
            return [instances.to("cpu") for instances in found]

    def track(
        self, frames: Iterable[Frame], fps: float, *, numbers: Iterator[int] | None = None
    ) -> Iterator[FrameTracks]:
        """Track through a video, ``TEST.FRAMES_PER_BATCH`` frames at a time.

        Args:
            frames: the frames, in order.
            fps: how many of them make a second of the video.
            numbers: gives new tracks their ids; None: 0, 1, 2, ...

        Yields:
            For each frame, the tracks in it.
        """
        state = self.start(frame_rate=fps, numbers=numbers)
        together = self.cfg.TEST.FRAMES_PER_BATCH
        # the memory counts processed frames, so that leaving frames out does not make it forget sooner
        numbered = enumerate(frames)
        while chunk := list(itertools.islice(numbered, together)):
            found = self._detect(state, [self._input(frame.image, n) for n, frame in chunk])
            for (_, frame), instances in zip(chunk, found):
                yield _frame_tracks(frame, instances[instances.track_ids >= 0])

    def follow(
        self, frames: Iterable[Frame], boxes: np.ndarray, *, numbers: Iterator[int] | None = None
    ) -> Iterator[FrameTracks]:
        """Follow given objects through a video.

        Args:
            frames: the frames, in order.
            boxes: (T, 4) x0, y0, x1, y1 of the objects, in pixels of the first frame.
            numbers: gives them their ids; None: 0, 1, 2, ...

        Yields:
            For each frame, the T objects; in the first one as given.

        Raises:
            ValueError: a box has no area in the frame.
        """
        ids = np.array(list(itertools.islice(numbers or itertools.count(), len(boxes))), dtype=np.int64)
        video = self.model.start_video({}, itertools.count())
        for number, frame in enumerate(frames):
            given = {} if number else {"given_boxes": boxes}
            x = dict(self._input(frame.image, number), state=video, **given)
            with self.times.stage("heads"), torch.inference_mode(), inference_autocast(self.cfg):
                instances = self.model([x])[0]["instances"].to("cpu")
            tracks = _frame_tracks(frame, instances)
            tracks.ids = ids
            yield tracks


def _frame_tracks(frame: Frame, instances: Instances) -> FrameTracks:
    return FrameTracks(
        index=frame.index,
        time=frame.time,
        name=frame.name,
        image=frame.image,
        boxes=instances.pred_boxes.tensor.numpy(),
        ids=instances.track_ids.numpy(),
        scores=instances.scores.numpy(),
        file=frame.file,
    )
