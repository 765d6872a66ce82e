"""Missed ground-truth tracks, and identity switches."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from effowt_d2.evaluation.owta import box_iou

__all__ = ["Followed", "follow", "most_missed", "most_switched"]

# from this IoU on a track holds an object, as in the MOT metrics
MATCH_IOU = 0.5


@dataclass
class Followed:
    """A ground-truth track and who held it.

    Attributes:
        track_id: of the ground truth.
        places: the frames it's in, as places in the list of frames.
        boxes: (F, 4) x, y, width, height there.
        held_by: per frame the id of the result on it, or -1.
    """

    track_id: int
    places: list[int] = field(default_factory=list)
    boxes: list[np.ndarray] = field(default_factory=list)
    held_by: list[int] = field(default_factory=list)

    @property
    def missed(self) -> int:
        """Frames without a result on it."""
        return self.held_by.count(-1)

    def switches(self) -> list[tuple[int, int]]:
        """Frames (the last before, the first after) between which another id took over, by place in ``places``."""
        held = [place for place, track_id in enumerate(self.held_by) if track_id >= 0]
        return [(a, b) for a, b in zip(held, held[1:]) if self.held_by[a] != self.held_by[b]]


def follow(
    gt_ids: Sequence[np.ndarray],
    gt_boxes: Sequence[np.ndarray],
    ids: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
) -> list[Followed]:
    """Match results to objects frame by frame, one to one, from IoU 0.5 on; an earlier match of an object is kept.

    Args:
        gt_ids, ids: per frame the (G,) and (N,) track ids, each once in a frame.
        gt_boxes, boxes: per frame (G, 4) and (N, 4) x, y, width, height.

    Returns:
        Every ground-truth track, in order of appearance.
    """
    tracks: dict[int, Followed] = {}
    holder: dict[int, int] = {}
    for place, (frame_gt_ids, frame_gt_boxes, frame_ids, frame_boxes) in enumerate(zip(gt_ids, gt_boxes, ids, boxes)):
        iou = box_iou(frame_gt_boxes, frame_boxes)
        before = np.array([holder.get(track_id, -1) for track_id in frame_gt_ids.tolist()], dtype=np.int64)
        # above any sum of IoUs, so that keeping one's object comes first
        worth = iou + len(frame_gt_ids) * (before[:, None] == frame_ids[None, :])
        worth[iou < MATCH_IOU] = 0
        held = np.full(len(frame_gt_ids), -1, dtype=np.int64)
        rows, columns = linear_sum_assignment(-worth)
        matched = worth[rows, columns] > 0
        held[rows[matched]] = frame_ids[columns[matched]]
        for track_id, box, track in zip(frame_gt_ids.tolist(), frame_gt_boxes, held.tolist()):
            followed = tracks.setdefault(track_id, Followed(track_id))
            followed.places.append(place)
            followed.boxes.append(box)
            followed.held_by.append(track)
            if track >= 0:
                holder[track_id] = track
    return list(tracks.values())


def most_missed(tracks: Sequence[Followed], count: int) -> list[Followed]:
    """The tracks missed in most frames."""
    return sorted((track for track in tracks if track.missed), key=lambda track: -track.missed)[:count]


def most_switched(tracks: Sequence[Followed], count: int) -> list[Followed]:
    """The tracks that changed hands most often."""
    switched = sorted(tracks, key=lambda track: -len(track.switches()))
    return [track for track in switched if track.switches()][:count]
