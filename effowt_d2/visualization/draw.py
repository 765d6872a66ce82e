"""Draw tracks into frames, in place, in milliseconds. Frames are BGR uint8 arrays (H, W, 3).

Detectron2's Visualizer draws through matplotlib, some hundred milliseconds a frame, so it's not used here.
"""

import colorsys
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

__all__ = ["Trails", "draw_tracks", "track_color"]

# turning the hue by the golden ratio keeps the colours of neighbouring ids far apart, for ever
_GOLDEN_RATIO = 0.6180339887498949
_OUTLINE = (16, 16, 16)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@lru_cache(maxsize=4096)
def track_color(track_id: int) -> tuple[int, int, int]:
    """The colour of a track: bright BGR, the same for an id in every frame, run and picture."""
    hue = (track_id * _GOLDEN_RATIO) % 1.0
    saturation = (0.85, 0.6, 0.4)[track_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


class Trails:
    """The recent centres of every track.

    Args:
        length: frames a trail reaches back.
    """

    def __init__(self, length: int = 30) -> None:
        if length < 1:
            raise ValueError(f"the length of trails must be at least 1 frame, got {length}")
        self._length = length
        self._points: dict[int, deque] = {}

    def update(self, ids: np.ndarray, boxes: np.ndarray, frame_index: int) -> dict[int, np.ndarray]:
        """Take in a frame and return each trail, for :func:`draw_tracks`.

        Args:
            ids: (N,) track ids.
            boxes: (N, 4) x1, y1, x2, y2 in pixels.
            frame_index: the frame's number.

        Returns:
            For each id of this frame, (K, 2) centres, oldest first.
        """
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        for track_id, centre in zip(ids.tolist(), centres):
            self._points.setdefault(track_id, deque()).append((frame_index, centre))
        for track_id, points in list(self._points.items()):
            while points and points[0][0] <= frame_index - self._length:
                points.popleft()
            if not points:
                del self._points[track_id]
        current = {track_id: self._points[track_id] for track_id in ids.tolist()}
        return {track_id: np.stack([point for _, point in points]) for track_id, points in current.items()}


def draw_tracks(
    frame_bgr: np.ndarray,
    boxes: np.ndarray,
    ids: np.ndarray,
    scores: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    trails: Mapping[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Draw boxes with their ids: a bright line on a dark one, readable on any background.

    Args:
        frame_bgr: (H, W, 3) uint8, drawn into.
        boxes: (N, 4) x1, y1, x2, y2 in pixels; parts outside the frame are cut.
        ids: (N,) track ids; negative ones carry no track and are not drawn.
        scores: (N,) shown behind the id; they also put the surest track on top.
        labels: N texts shown behind the id.
        trails: (K, 2) points per id.

    Returns:
        ``frame_bgr``.
    """
    height, width = frame_bgr.shape[:2]
    line = max(1, round(min(height, width) / 360))
    # far outside is as good as just outside, and keeps the coordinates in the range the drawing can hold
    corners = np.clip(np.round(boxes), -line, [width + line, height + line] * 2).astype(int)
    order = range(len(ids)) if scores is None else np.argsort(scores, kind="stable")
    for row in order:
        track_id = int(ids[row])
        if track_id < 0:
            continue
        color = track_color(track_id)
        if trails is not None and track_id in trails:
            _draw_trail(frame_bgr, trails[track_id], color, line)
        x1, y1, x2, y2 = corners[row].tolist()
        cv2.rectangle(frame_bgr, (x1, y1), (x2, y2), _OUTLINE, line + 2)
        cv2.rectangle(frame_bgr, (x1, y1), (x2, y2), color, line)
        text = str(track_id)
        if labels is not None and labels[row]:
            text += f" {labels[row]}"
        if scores is not None:
            text += f" {scores[row]:.2f}"
        _draw_text(frame_bgr, text, (x1, y1), color, line)
    return frame_bgr


def _draw_trail(frame: np.ndarray, points: np.ndarray, color: tuple[int, int, int], line: int) -> None:
    limit = 4 * max(frame.shape)
    path = [np.clip(np.round(points), -limit, limit).astype(np.int32).reshape(-1, 1, 2)]
    cv2.polylines(frame, path, False, _OUTLINE, line + 2)
    cv2.polylines(frame, path, False, color, line)


def _draw_text(
    frame: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int], line: int
) -> None:
    """Write on a dark ground above the box's top left corner, or just inside where there is no room."""
    scale = 0.4 + 0.15 * (line - 1)
    (width, height), base = cv2.getTextSize(text, _FONT, scale, 1 + line // 3)
    left = max(0, min(corner[0], frame.shape[1] - width))
    bottom = corner[1] - line if corner[1] - line - height - base >= 0 else corner[1] + line + height + base
    cv2.rectangle(frame, (left, bottom - height - base), (left + width, bottom), _OUTLINE, cv2.FILLED)
    cv2.putText(frame, text, (left, bottom - base // 2), _FONT, scale, color, 1 + line // 3, cv2.LINE_AA)
