"""Who holds each ground-truth track in which frame: identity switches, and objects that keep one identity."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from .ground_truth import GroundTruth
from .groups import CategoryGroups
from .owta import box_iou
from .result_formats import read_results
from .results_io import Results
from .tao_ow import groups_for

__all__ = ["Followed", "Identities", "count_identities", "follow"]

# from this IoU on a track holds an object, as in the MOT metrics
MATCH_IOU = 0.5
# an object is kept by a track that holds it in this share of its frames
KEPT_SHARE = 0.5


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

    def longest(self) -> int:
        """Frames of the id that is on it most often."""
        return max(Counter(track_id for track_id in self.held_by if track_id >= 0).values(), default=0)


class Identities(NamedTuple):
    """Objects of a subset, how often their identity switches, and how many of them one track holds in half of the
    object's frames or more."""

    objects: int
    switches: int
    kept: int


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


def count_identities(
    gt: GroundTruth,
    results: Results | str,
    subsets: Sequence[str],
    *,
    groups: CategoryGroups | Mapping | None = None,
    min_score: float = 0.3,
) -> dict[str, Identities]:
    """Identity switches at IoU 0.5, see :func:`follow`: changes of the result that holds an object, gaps passed over;
    and the objects that one track keeps.

    Args:
        gt, results, groups, subsets: as in :func:`effowt_d2.evaluation.evaluate_tao_ow`.
        min_score: results with a lower score take no part.
    """
    results = read_results(results, gt)
    used = (results.score >= min_score) & np.isin(results.image_id, gt.image_ids)
    image = np.searchsorted(gt.image_ids, results.image_id[used])
    labelled = _by_image(gt.image, len(gt.image_ids), gt.track, gt.boxes)
    found = _by_image(image, len(gt.image_ids), results.track_id[used], results.bbox[used])
    # frames of a video one behind the other; each video's objects have ids of their own
    order = np.lexsort((gt.image_frame, gt.image_video))
    tracks = follow(*([column[place] for place in order] for column in (*labelled, *found)))
    category = dict(zip(gt.track.tolist(), gt.category.tolist()))
    chosen = groups_for(gt, groups, subsets)
    switches = np.array([len(track.switches()) for track in tracks])
    kept = np.array([track.longest() >= KEPT_SHARE * len(track.places) for track in tracks])
    categories = np.array([category[track.track_id] for track in tracks])
    members = {subset: chosen.members(subset, categories) for subset in subsets}
    return {
        subset: Identities(int(mask.sum()), int(switches[mask].sum()), int(kept[mask].sum()))
        for subset, mask in members.items()
    }


def _by_image(image: np.ndarray, count: int, *columns: np.ndarray) -> list[list[np.ndarray]]:
    """Columns (N, ...) cut into the rows of each of so many images, given the (N,) image of each row."""
    order = np.argsort(image, kind="stable")
    ends = np.searchsorted(image[order], np.arange(1, count))
    return [np.split(column[order], ends) for column in columns]
