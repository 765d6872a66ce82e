"""The best views of every track as crops, kept until the video is over."""

from collections import OrderedDict
from dataclasses import dataclass, field

import cv2
import numpy as np

from effowt_d2.utils.checks import check_count
from effowt_d2.video.best_views import MOST_VIEWS, insert, replaceable_views
from effowt_d2.video.frame_tracks import FrameTracks

from .crops import clip_boxes, square_crop

__all__ = ["BestCrops", "Crop"]

_SIDE = 336
"""Of a crop in pixels, what LLaVA-1.5 sees."""
_QUALITY = 95


@dataclass(eq=False)
class Crop:
    """A view of a track.

    Attributes:
        time: seconds of its frame.
        worth: score times area in pixels.
        jpeg: bytes.
    """

    time: float
    worth: float
    jpeg: np.ndarray

    def pixels(self) -> np.ndarray:
        """(S, S, 3) uint8 RGB."""
        return np.ascontiguousarray(cv2.imdecode(self.jpeg, cv2.IMREAD_COLOR)[:, :, ::-1])


@dataclass
class _Track:
    birth: float
    crops: list[Crop] = field(default_factory=list)


class BestCrops:
    """Square crops around the boxes of each track, up to four of each.

    Args:
        context, max_zoom, background: of the crops, see ``square_crop``.
        tracks: whose crops are kept, those seen last.
    """

    def __init__(
        self, *, context: float = 0.25, max_zoom: float = 0.0, background: str = "keep", tracks: int = 1000
    ) -> None:
        self._how = {"size": _SIDE, "context": context, "max_zoom": max_zoom, "background": background}
        self._capacity = check_count("tracks", tracks)
        self._tracks: OrderedDict[int, _Track] = OrderedDict()

    def update(self, tracks: FrameTracks) -> None:
        """Take in a frame; its image must not be drawn on yet."""
        boxes = clip_boxes(np.asarray(tracks.boxes, dtype=np.float64), *tracks.image.shape[:2])
        worths = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * tracks.scores
        for track_id, box, worth in zip(tracks.ids.tolist(), boxes, worths.tolist()):
            known = self._tracks.setdefault(track_id, _Track(tracks.time))
            self._tracks.move_to_end(track_id)
            near = replaceable_views(known.crops, worth, tracks.time, known.birth) if worth > 0 else None
            if near is not None:
                picture = square_crop(tracks.image, box, **self._how)[:, :, ::-1]
                jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
                insert(known.crops, Crop(tracks.time, worth, jpeg), near)
        while len(self._tracks) > self._capacity:
            self._tracks.popitem(last=False)

    def best(self, track_id: int, views: int = MOST_VIEWS) -> list[Crop]:
        """So many of a track, the best ones in order of time; none of a track that is not known any more."""
        known = self._tracks.get(track_id)
        best = sorted(known.crops, key=lambda crop: -crop.worth)[:views] if known else []
        return sorted(best, key=lambda crop: crop.time)

    def ids(self) -> list[int]:
        """Of all tracks with a crop, ascending."""
        return sorted(track_id for track_id, known in self._tracks.items() if known.crops)
