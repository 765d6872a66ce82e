"""Memory of the tracker: one row per entry, in stacked tensors, oldest entry first.

Letters: M entries, K rows chosen among them, E embedding channels. What the host decides on (ids, frame numbers) is kept
in numpy, what is multiplied (states, boxes) on the device of the detections.
"""

import numpy as np
import torch
from torch import Tensor

from .motion import blend_velocity, predict_boxes
from .track_state import Looks, State, TrackState

__all__ = ["Memory"]


class Memory:
    """Looks and boxes of tracks, each with the frame it was last seen in.

    Args:
        states: how looks are remembered, each in its own way.
    """

    def __init__(self, *states: TrackState) -> None:
        self._kinds = states
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.ids = np.empty(0, dtype=np.int64)
        self.last_frame = np.empty(0, dtype=np.int64)
        self.times_seen = np.empty(0, dtype=np.int64)
        self.channels: int | None = None
        """E, or None as long as nothing was ever remembered."""
        # one per kind, from the first entry on; till then the device is the host
        self._states: list[State] = []
        self._boxes = torch.empty(0, 4)  # (M, 4)
        self._velocities = torch.empty(0, 2)  # (M, 2)

    def __len__(self) -> int:
        return len(self.ids)

    def forget(self, oldest_frame: int) -> None:
        """Drop every entry last seen before ``oldest_frame``."""
        keep = self.last_frame >= oldest_frame
        if keep.all():
            return
        self.ids = self.ids[keep]
        self.last_frame = self.last_frame[keep]
        self.times_seen = self.times_seen[keep]
        rows = torch.from_numpy(np.flatnonzero(keep)).to(self._boxes.device)
        self._states = [tuple(tensor[rows] for tensor in state) for state in self._states]
        self._boxes = self._boxes[rows]
        self._velocities = self._velocities[rows]

    def embeddings(self, kind: int = 0) -> Tensor:
        """The (M, E) vectors that detections are compared with, of one of the ways of remembering."""
        return self._kinds[kind].embedding(self._states[kind])

    def boxes(self, frame_index: int, motion: str) -> Tensor:
        """The (M, 4) boxes expected in a frame: the last seen ones, moved if ``motion`` is not ``"none"``."""
        if motion == "none":
            return self._boxes
        return predict_boxes(self._boxes, self._velocities, self._elapsed(slice(None), frame_index))

    def update(self, rows: np.ndarray, looks: Looks, boxes: Tensor, frame_index: int) -> None:
        """Take the detections that continue known entries into memory.

        Args:
            rows: (K,) row numbers, each at most once.
            looks: of the K detections.
            boxes: (K, 4) of the detections.
            frame_index: the frame they were seen in, later than any remembered one.
        """
        if len(rows) == 0:
            return
        where = torch.from_numpy(rows).to(boxes.device)
        for kind, state in zip(self._kinds, self._states):
            for tensor, new in zip(state, kind.step(tuple(tensor[where] for tensor in state), looks)):
                tensor[where] = new
        first_time = torch.from_numpy(self.times_seen[rows] == 1).to(boxes.device)
        self._velocities[where] = blend_velocity(
            self._velocities[where], boxes - self._boxes[where], self._elapsed(rows, frame_index), first_time
        )
        self._boxes[where] = boxes
        self.last_frame[rows] = frame_index
        self.times_seen[rows] += 1

    def append(self, ids: np.ndarray, looks: Looks, boxes: Tensor, frame_index: int) -> None:
        """Remember new entries.

        Args:
            ids: (K,) int64.
            looks: of the K detections.
            boxes: (K, 4).
            frame_index: the frame they were seen in.
        """
        if len(ids) == 0:
            return
        self.channels = looks.embeddings.shape[1]
        self.ids = np.concatenate([self.ids, ids])
        self.last_frame = np.concatenate([self.last_frame, np.full(len(ids), frame_index)])
        self.times_seen = np.concatenate([self.times_seen, np.ones(len(ids), dtype=np.int64)])
        states = [kind.init(looks) for kind in self._kinds]
        self._boxes = torch.cat([self._boxes.to(boxes.device), boxes])
        self._velocities = torch.cat([self._velocities.to(boxes.device), boxes.new_zeros(len(ids), 2)])
        if self._states:
            pairs = zip(self._states, states)
            states = [tuple(torch.cat(both) for both in zip(old, new)) for old, new in pairs]
        self._states = states

    def _elapsed(self, rows: np.ndarray | slice, frame_index: int) -> Tensor:
        elapsed = (frame_index - self.last_frame[rows]).astype(np.float32)
        return torch.from_numpy(elapsed).to(self._boxes.device)
