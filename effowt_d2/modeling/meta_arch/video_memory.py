"""Knows where one video ends and the next begins."""

from collections.abc import Hashable

import torch
from detectron2.structures import Instances
from torch import Tensor

from effowt_d2.tracking import Tracker
from effowt_d2.utils.arguments import config_keys

__all__ = ["VideoMemory"]


class VideoMemory:
    """Feeds a tracker frame by frame and resets it between videos.

    Args:
        tracker: holds the tracks of the running video.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self._last_frame: tuple[Hashable, int] | None = None

    def reset(self) -> None:
        """End the running video."""
        self.tracker.reset()
        self._last_frame = None

    def associate(
        self, instances: Instances, video_id: Hashable, frame_index: int, frame_rate: float | None = None
    ) -> Tensor:
        """Track ids of a frame's detections.

        Args:
            instances: ``pred_boxes``, ``scores`` and ``embeddings`` of N detections.
            video_id: tells this video from the one before.
            frame_index: place of the frame in the processed sequence; one that doesn't increase starts a new video.
            frame_rate: processed frames per second, where they are known; read at the first frame of a video.

        Returns:
            (N,) int64, -1 for detections that carry none.

        Raises:
            ValueError: ``TRACKER.MEMORY_SECONDS`` is set and ``frame_rate`` is None.
        """
        video, frame = self._last_frame or (None, None)
        if self._last_frame is None or video != video_id or frame_index <= frame:
            self.tracker.reset(frame_rate)
        # similarities are compared with thresholds and each other: in full precision, whatever the model runs in
        with torch.autocast(instances.scores.device.type, enabled=False), config_keys("TRACKER"):
            ids = self.tracker.update(instances.pred_boxes.tensor, instances.scores, instances.embeddings, frame_index)
        self._last_frame = (video_id, frame_index)
        return ids
