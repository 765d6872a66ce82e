"""Memory of the tracker: one row per entry, in stacked tensors, oldest entry first.

Letters: M entries, K rows chosen among them, E embedding channels, H remembered states per entry. What the
host decides on (ids, frame numbers) is kept in numpy, what is multiplied (embeddings, boxes) on the device of
the detections.
"""

import numpy as np
import torch
from torch import Tensor

from .motion import blend_velocity, predict_boxes

__all__ = ["Memory"]


class Memory:
    """Embeddings and boxes of tracks, each with the frame it was last seen in.

    An entry's embedding follows e <- (1 - momentum) e + momentum n. With ``history`` above 1 the entry is
    matched by the mean of its last ``history`` values of e, weighted 1, 2, 3, ... towards the newest.

    Args:
        momentum: weight of the new embedding, in (0, 1].
        history: values of e to keep per entry.
    """

    def __init__(self, *, momentum: float, history: int = 1) -> None:
        self.momentum = momentum
        self.history = history
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.ids = np.empty(0, dtype=np.int64)
        self.last_frame = np.empty(0, dtype=np.int64)
        self.times_seen = np.empty(0, dtype=np.int64)
        # newest last; E is 0 and the device the host until the first entry comes
        self._states = torch.empty(0, self.history, 0)  # (M, H, E)
        self._boxes = torch.empty(0, 4)  # (M, 4)
        self._velocities = torch.empty(0, 2)  # (M, 2)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def channels(self) -> int | None:
        """E, or None as long as nothing was ever remembered."""
        return self._states.shape[2] or None

    def forget(self, oldest_frame: int) -> None:
        """Drop every entry last seen before ``oldest_frame``."""
        keep = self.last_frame >= oldest_frame
        if keep.all():
            return
        self.ids = self.ids[keep]
        self.last_frame = self.last_frame[keep]
        self.times_seen = self.times_seen[keep]
        rows = torch.from_numpy(np.flatnonzero(keep)).to(self._states.device)
        self._states = self._states[rows]
        self._boxes = self._boxes[rows]
        self._velocities = self._velocities[rows]

    def embeddings(self) -> Tensor:
        """The (M, E) vectors that detections are compared with."""
        if self.history == 1:
            return self._states[:, 0]
        # an entry seen fewer than H times uses the states it has: older places weigh nothing
        filled = np.minimum(self.times_seen, self.history)[:, None]
        places = np.arange(1, self.history + 1)[None, :] - self.history + filled
        weights = places.clip(min=0).astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        return torch.einsum("mh,mhe->me", torch.from_numpy(weights).to(self._states.device), self._states)

    def boxes(self, frame_index: int, motion: str) -> Tensor:
        """The (M, 4) boxes expected in a frame: the last seen ones, moved if ``motion`` is not ``"none"``."""
        if motion == "none":
            return self._boxes
        return predict_boxes(self._boxes, self._velocities, self._elapsed(slice(None), frame_index))

    def update(self, rows: np.ndarray, embeddings: Tensor, boxes: Tensor, frame_index: int) -> None:
        """Take the detections that continue known entries into memory.

        Args:
            rows: (K,) row numbers, each at most once.
            embeddings: (K, E) of the detections.
            boxes: (K, 4) of the detections.
            frame_index: the frame they were seen in, later than any remembered one.
        """
        if len(rows) == 0:
            return
        where = torch.from_numpy(rows).to(self._states.device)
        states = self._states[where]
        newest = torch.lerp(states[:, -1], embeddings, self.momentum)
        self._states[where] = torch.cat([states[:, 1:], newest[:, None]], dim=1)
        first_time = torch.from_numpy(self.times_seen[rows] == 1).to(boxes.device)
        self._velocities[where] = blend_velocity(
            self._velocities[where], boxes - self._boxes[where], self._elapsed(rows, frame_index), first_time
        )
        self._boxes[where] = boxes
        self.last_frame[rows] = frame_index
        self.times_seen[rows] += 1

    def append(self, ids: np.ndarray, embeddings: Tensor, boxes: Tensor, frame_index: int) -> None:
        """Remember new entries.

        Args:
            ids: (K,) int64.
            embeddings: (K, E).
            boxes: (K, 4).
            frame_index: the frame they were seen in.
        """
        if len(ids) == 0:
            return
        first = len(self.ids) == 0
        self.ids = np.concatenate([self.ids, ids])
        self.last_frame = np.concatenate([self.last_frame, np.full(len(ids), frame_index)])
        self.times_seen = np.concatenate([self.times_seen, np.ones(len(ids), dtype=np.int64)])
        states = embeddings[:, None].repeat(1, self.history, 1)
        velocities = boxes.new_zeros(len(ids), 2)
        if first:
            self._states, self._boxes, self._velocities = states, boxes.clone(), velocities
            return
        self._states = torch.cat([self._states, states])
        self._boxes = torch.cat([self._boxes, boxes])
        self._velocities = torch.cat([self._velocities, velocities])

    def _elapsed(self, rows: np.ndarray | slice, frame_index: int) -> Tensor:
        elapsed = (frame_index - self.last_frame[rows]).astype(np.float32)
        return torch.from_numpy(elapsed).to(self._boxes.device)
