"""Draw tracks into frames, in place, in milliseconds. Frames are BGR uint8 arrays (H, W, 3).

Detectron2's Visualizer draws through matplotlib, some hundred milliseconds a frame, so it's not used here.
"""

import colorsys
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache

import cv2
import numpy as np

__all__ = ["LABEL_FIELDS", "Trails", "draw_tracks", "track_color"]

LABEL_FIELDS = ("id", "name", "score")
"""Fields of a label, in the order they are written."""

# turning the hue by the golden ratio keeps the colours of neighbouring ids distinct
_GOLDEN_RATIO = 0.6180339887498949
_OUTLINE = (16, 16, 16)
_PAPER = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# a colour brighter than this takes dark text on it
_BRIGHT = 115


@lru_cache(maxsize=4096)
def track_color(track_id: int) -> tuple[int, int, int]:
    """The colour of a track: bright BGR, the same for an id in every frame, run and image."""
    hue = (track_id * _GOLDEN_RATIO) % 1.0
    saturation = (0.85, 0.6, 0.4)[track_id % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


class Trails:
    """The recent centres of every track.

    Args:
        seconds: how far a trail reaches back.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        if not seconds > 0:
            raise ValueError(f"the length of trails must be above 0 seconds, got {seconds}")
        self._seconds = seconds
        self._points: dict[int, deque] = {}

    def update(self, ids: np.ndarray, boxes: np.ndarray, time: float) -> dict[int, np.ndarray]:
        """Take in a frame and return each trail, for :func:`draw_tracks`.

        Args:
            ids: (N,) track ids.
            boxes: (N, 4) x1, y1, x2, y2 in pixels.
            time: of the frame, in seconds.

        Returns:
            For each id of this frame, (K, 2) centres, oldest first.
        """
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        for track_id, centre in zip(ids.tolist(), centres):
            self._points.setdefault(track_id, deque()).append((time, centre))
        for track_id, points in list(self._points.items()):
            while points and points[0][0] <= time - self._seconds:
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
    fields: Sequence[str] = LABEL_FIELDS,
) -> np.ndarray:
    """Draw boxes with their ids: a bright line on a dark one, readable on any background.

    Args:
        frame_bgr: (H, W, 3) uint8, drawn into.
        boxes: (N, 4) x1, y1, x2, y2 in pixels; parts outside the frame are cut.
        ids: (N,) track ids; negative ones carry no track and are not drawn.
        scores: (N,) shown in the label; they also put the surest track on top.
        labels: N names shown in the label.
        trails: (K, 2) points per id.
        fields: those of :data:`LABEL_FIELDS` that labels show; empty: no labels.

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
        parts = {
            "id": str(track_id),
            "name": labels[row] if labels is not None else "",
            "score": f"{scores[row]:.2f}" if scores is not None else "",
        }
        text = " ".join(parts[field] for field in LABEL_FIELDS if field in fields and parts[field])
        if text:
            _draw_text(frame_bgr, text, (x1, y1), color, line)
    return frame_bgr


def _draw_trail(frame: np.ndarray, points: np.ndarray, color: tuple[int, int, int], line: int) -> None:
    limit = 4 * max(frame.shape)
    path = [np.clip(np.round(points), -limit, limit).astype(np.int32).reshape(-1, 1, 2)]
    cv2.polylines(frame, path, False, _OUTLINE, line + 2, cv2.LINE_AA)
    cv2.polylines(frame, path, False, color, line, cv2.LINE_AA)


def _draw_text(frame: np.ndarray, text: str, corner: tuple[int, int], color: tuple[int, int, int], line: int) -> None:
    """Write on a plate of the track's colour above the box's top left corner, or just inside at the border."""
    # OpenCV's fonts have Latin letters only
    text = text.encode("ascii", "replace").decode()
    scale, thickness = 0.4 + 0.15 * (line - 1), 1 + line // 3
    (width, height), base = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = line + 1
    plate = (width + 2 * margin, height + base + margin)
    left = max(0, min(corner[0] - line // 2, frame.shape[1] - plate[0]))
    top = corner[1] - line // 2 - plate[1]
    top = top if top >= 0 else corner[1] + line
    bottom_right = (left + plate[0], top + plate[1])
    cv2.rectangle(frame, (left, top), bottom_right, color, cv2.FILLED)
    cv2.rectangle(frame, (left, top), bottom_right, _OUTLINE, 1)
    ink = _OUTLINE if np.dot(color, (0.114, 0.587, 0.299)) > _BRIGHT else _PAPER
    cv2.putText(frame, text, (left + margin, top + margin // 2 + height + 1), _FONT, scale, ink, thickness, cv2.LINE_AA)
