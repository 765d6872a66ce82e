"""A trained model run over the frames of one video after the other."""

import os
import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Instances

from effowt_d2.checkpoint import EffOWTCheckpointer
from effowt_d2.data.views import AtLeastOnePixel, to_tensor
from effowt_d2.visualization import Frame, FrameTracks

__all__ = ["VideoPredictor"]


class VideoPredictor:
    """Detects and tracks in frames as they come.

    Frames are scaled as in evaluation (``INPUT.MIN_SIZE_TEST``, ``INPUT.MAX_SIZE_TEST``); boxes come back in
    the pixels of the frame. The model owns the tracker and resets it when the video changes.

    Args:
        cfg: config with ``MODEL.WEIGHTS`` set; a copy is kept.

    Attributes:
        seconds: time spent in the model so far, scaling of the frames included.

    Raises:
        ValueError: ``MODEL.WEIGHTS`` is empty.
        FileNotFoundError: it names no file.
    """

    def __init__(self, cfg: CfgNode) -> None:
        weights = cfg.MODEL.WEIGHTS
        if not weights:
            raise ValueError("MODEL.WEIGHTS is empty: it must name the checkpoint of a trained model")
        if "://" not in weights and not os.path.isfile(weights):
            raise FileNotFoundError(f"MODEL.WEIGHTS {weights}: no such file")
        self.cfg = cfg.clone()
        self.model = build_model(self.cfg).eval()
        EffOWTCheckpointer(self.model, unsafe_pickle=cfg.MODEL.UNSAFE_PICKLE).load(weights)
        self._resize = AtLeastOnePixel(T.ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST))
        self._video_id = 0
        self.seconds = 0.0

    def __call__(self, image: np.ndarray, video_id: int, frame_index: int) -> Instances:
        """Detect and track in one frame.

        Args:
            image: (H, W, 3) BGR uint8.
            video_id: any number that tells this video from the one before.
            frame_index: place of the frame in the processed sequence; it increases within a video.

        Returns:
            Instances on the CPU with ``pred_boxes``, ``scores`` and ``track_ids``.
        """
        height, width = image.shape[:2]
        if self.cfg.INPUT.FORMAT == "RGB":
            image = image[:, :, ::-1]
        tensor = to_tensor(self._resize.get_transform(image).apply_image(image)).float()
        inputs = dict(image=tensor, height=height, width=width, video_id=video_id, frame_index=frame_index)
        with torch.inference_mode():
            return self.model([inputs])[0]["instances"].to("cpu")

    def track(self, frames: Iterable[Frame], fps: float) -> Iterator[FrameTracks]:
        """Track through a video.

        Args:
            frames: the frames, in order.
            fps: frames per second of the source that their indices count.

        Yields:
            For each frame, the tracks in it.
        """
        self._video_id += 1
        for position, frame in enumerate(frames):
            start = time.perf_counter()
            # the memory counts processed frames, so that leaving frames out does not make it forget sooner
            instances = self(frame.image, self._video_id, position)
            self.seconds += time.perf_counter() - start
            instances = instances[instances.track_ids >= 0]
            yield FrameTracks(
                index=frame.index,
                time=frame.index / fps,
                name=frame.name,
                image=frame.image,
                boxes=instances.pred_boxes.tensor.numpy(),
                ids=instances.track_ids.numpy(),
                scores=instances.scores.numpy(),
            )
