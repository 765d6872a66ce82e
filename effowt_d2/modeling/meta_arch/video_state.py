"""The state of a video; the caller owns it, so that a model can process several videos at a time."""

import copy
import itertools
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from detectron2.structures import Instances
from torch import Tensor

from effowt_d2.tracking import Tracker
from effowt_d2.utils.arguments import config_keys

__all__ = ["RunningVideo", "VideoState"]


class VideoState:
    """The tracks of one video so far.

    Args:
        tracker: its settings are taken, on a copy; its own tracks are left as they are.
        frame_rate: processed frames per second, where they are known.
        numbers: gives each new track its id, so that videos that share it have no id in common; None: 0, 1, 2, ...
    """

    def __init__(
        self, tracker: Tracker, *, frame_rate: float | None = None, numbers: Iterator[int] | None = None
    ) -> None:
        # what was learned is the model's, and the same for all videos
        learned = getattr(tracker, "track_state", None)
        self.tracker = copy.deepcopy(tracker, {id(learned): learned})
        self.tracker.reset(frame_rate)
        self._numbers = numbers
        self._ids: dict[int, int] = {}

    def associate(self, instances: Instances, frame_index: int) -> Tensor:
        """Track ids of a frame's detections.

        Args:
            instances: ``pred_boxes``, ``scores`` and ``embeddings`` of N detections, and ``tokens`` where the tracker
                remembers by them.
            frame_index: place of the frame in the processed sequence; it increases.

        Returns:
            (N,) int64, -1 for detections that carry none.

        Raises:
            ValueError: ``TRACKER.MEMORY_SECONDS`` is set and the frame rate is not known.
        """
        # similarities are compared with thresholds and each other: in full precision, whatever the model runs in
        with torch.autocast(instances.scores.device.type, enabled=False), config_keys("TRACKER"):
            seen = (instances.pred_boxes.tensor, instances.scores, instances.embeddings, frame_index)
            more = {"tokens": instances.tokens} if instances.has("tokens") else {}
            ids = self.tracker.update(*seen, **more)
        return ids if self._numbers is None else self._numbered(ids, self._numbers)

    def _numbered(self, ids: Tensor, numbers: Iterator[int]) -> Tensor:
        own = ids.tolist()
        # in the order in which the tracks began, whatever that of the detections
        for track_id in sorted(track_id for track_id in own if track_id >= 0 and track_id not in self._ids):
            self._ids[track_id] = next(numbers)
        return torch.tensor([self._ids.get(track_id, -1) for track_id in own], dtype=ids.dtype, device=ids.device)


class RunningVideo:
    """A model for loops that hand it frames of one video after the other, such as Detectron2's evaluation.

    It gives each frame the state of its video. Another video, or a frame index that doesn't increase, starts anew; ids are
    unique over all of them. A model without memory, such as Detectron2's detectors, gets its frames as they are.

    Args:
        model: an ``OpenWorldTracker``, another model with a ``start_video(x, numbers)`` that gives the state of the video
            whose first frame is the input ``x``, or one without; also inside a wrapper for several processes.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._start = getattr(getattr(model, "module", model), "start_video", None)
        self._numbers = itertools.count()
        self._last: tuple[Hashable, int] | None = None
        self._state: Any = None

    def __call__(self, batched_inputs: list[dict]) -> list[dict]:
        """The model's outputs for inputs whose frames have ``video_id``, ``frame_index`` and maybe ``frame_rate``.

        Raises:
            ValueError: a frame of a video has no ``frame_index``.
        """
        return self._model([self._with_state(x) for x in batched_inputs])

    def _with_state(self, x: dict) -> dict:
        video_id, frame_index = x.get("video_id"), x.get("frame_index")
        if video_id is None or self._start is None:
            return x
        if frame_index is None:
            name = x.get("file_name", f"of video {video_id!r}")
            raise ValueError(f"frame {name} has a video_id but no frame_index, its place in the processed sequence")
        if self._last is None or self._last[0] != video_id or frame_index <= self._last[1]:
            self._state = self._start(x, self._numbers)
        self._last = (video_id, frame_index)
        return dict(x, state=self._state)
