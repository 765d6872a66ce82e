"""How the tracks compare with the ground truth: OWTA, and crops of the worst failures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from effowt_d2.evaluation import evaluate_tao_ow
from effowt_d2.evaluation.groups import choose_groups
from effowt_d2.evaluation.switches import Followed, follow
from effowt_d2.utils.boxes import xywh_to_xyxy
from effowt_d2.visualization import draw_tracks

from .failures import most_missed, most_switched
from .film import Film
from .image_crops import crop_box, encode
from .truth import SeenFrame, VideoTruth

__all__ = ["score"]

_SUBSETS = ("all", "known", "unknown")
_SHOWN = 6
_CROP_SIDE = 320  # pixels of the longest side
_GT_COLOR = (255, 255, 255)


def score(truth: VideoTruth, film: Film) -> dict:
    """Everything the page shows about the ground truth.

    Args:
        truth: the ground truth with the frames seen.
        film: the frames kept, for crops.

    Returns:
        "file", "video", "images" (annotated images seen), "of" (images of the video), "matched_by", and either "why"
        there are no scores, or "table" (a row per subset), "missed" and "switched" (lists of tracks with crops).
    """
    frames, part = truth.seen(), truth.part()
    about = dict(
        file=Path(truth.file).name, video=truth.name, images=len(frames), of=truth.total(), matched_by=truth.matched_by
    )
    if not part["annotations"]:
        return dict(about, why="none of the frames is an annotated image of this video")
    try:
        table = _table(truth, frames, part)
    except (ValueError, ImportError) as error:
        # the page is worth having without them; TAO's own groups need a package that may be missing
        return dict(about, why=str(error).replace(truth.file, about["file"]))
    categories = {track["id"]: track["category_id"] for track in part["tracks"]}
    names = {category["id"]: category["name"] for category in part.get("categories", [])}
    followed = _follow(frames, part["annotations"])
    crops = _FailureCrops(frames, film)

    def describe(track: Followed, pictures: list[dict]) -> dict:
        return dict(
            id=track.track_id,
            name=names.get(categories.get(track.track_id), ""),
            frames=len(track.places),
            missed=track.missed,
            switches=len(track.switches()),
            pictures=pictures,
        )

    return dict(
        about,
        table=table,
        missed=[describe(track, crops.of_miss(track)) for track in most_missed(followed, _SHOWN)],
        switched=[describe(track, crops.of_switch(track)) for track in most_switched(followed, _SHOWN)],
    )


def _table(truth: VideoTruth, frames: Sequence[SeenFrame], part: dict) -> list[dict]:
    lengths = [len(frame.ids) for frame in frames]
    results = dict(
        image_id=np.repeat([frame.image_id for frame in frames], lengths),
        video_id=np.full(sum(lengths), part["videos"][0]["id"]),
        bbox=np.concatenate([frame.boxes for frame in frames]).reshape(-1, 4),
        track_id=np.concatenate([frame.ids for frame in frames]),
        score=np.concatenate([frame.scores for frame in frames]),
    )
    names = {category["id"]: category["name"] for category in part["categories"]}
    grouped = choose_groups(None, part.get("open_world"), truth.file, names) is not None
    scores = evaluate_tao_ow(part, results, _SUBSETS if grouped else _SUBSETS[:1], workers=1, progress=False)
    return [
        dict(
            subset=subset,
            tracks=score["objects"],
            **{name: round(score[name], 2) for name in ("OWTA", "D.Re", "A.Acc")},
        )
        for subset, score in scores.items()
    ]


def _follow(frames: Sequence[SeenFrame], annotations: Sequence[dict]) -> list[Followed]:
    by_image: dict[int, list[dict]] = {}
    for entry in annotations:
        by_image.setdefault(entry["image_id"], []).append(entry)
    entries = [by_image.get(frame.image_id, []) for frame in frames]
    return follow(
        [np.array([entry["track_id"] for entry in image], dtype=np.int64) for image in entries],
        [np.array([entry["bbox"] for entry in image], dtype=np.float64).reshape(-1, 4) for image in entries],
        [frame.ids for frame in frames],
        [frame.boxes for frame in frames],
    )


class _FailureCrops:
    """Cuts failures out of the frames that were kept."""

    def __init__(self, frames: Sequence[SeenFrame], film: Film) -> None:
        self._frames, self._film = frames, film

    def of_miss(self, track: Followed) -> list[dict]:
        """The frame where the missed object is largest."""
        missed = [place for place, held in enumerate(track.held_by) if held < 0]
        missed.sort(key=lambda place: -track.boxes[place][2:].prod())
        return [self._cut(track, place) for place in self._kept(track, missed)][:1]

    def of_switch(self, track: Followed) -> list[dict]:
        """The frames before and after the first change of hands with kept crops."""
        for last, first in track.switches():
            before, after = track.held_by[last], track.held_by[first]
            earlier = [place for place in range(last, -1, -1) if track.held_by[place] == before]
            later = [place for place in range(first, len(track.places)) if track.held_by[place] == after]
            pair = [next(self._kept(track, places), None) for places in (earlier, later)]
            if None not in pair:
                return [self._cut(track, place) for place in pair]
        return []

    def _kept(self, track: Followed, places: Sequence[int]) -> Iterator[int]:
        return (place for place in places if self._frames[track.places[place]].position % self._film.stride == 0)

    def _cut(self, track: Followed, place: int) -> dict:
        frame = self._frames[track.places[place]]
        zoomed = self._film.scale(*frame.size)
        shown = np.round(np.array(frame.size) * zoomed).astype(int)
        # without what fills the film up to even sides
        image = self._film.image(frame.position // self._film.stride)[: max(1, shown[1]), : max(1, shown[0])]
        # from pixels of the annotated image to those of the frame
        scale = zoomed / np.array(frame.scale)
        gt = _corners(track.boxes[place], scale)
        boxes = np.array([_corners(box, scale) for box in frame.boxes]).reshape(-1, 4)
        area = _context_box(gt, image.shape)
        part = np.ascontiguousarray(crop_box(image, area))
        zoom = _CROP_SIDE / max(part.shape[:2])
        size = (max(1, round(part.shape[1] * zoom)), max(1, round(part.shape[0] * zoom)))
        part = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        origin = np.tile(np.floor(np.maximum(area[:2], 0)), 2)
        boxes = (boxes - origin) * zoom
        inside = (boxes[:, :2] < size).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
        draw_tracks(part, boxes[inside], frame.ids[inside])
        _draw_gt(part, (gt - origin) * zoom)
        return dict(
            time=round(frame.time, 3),
            held_by=track.held_by[place],
            width=size[0],
            height=size[1],
            jpeg=encode(part, 82),
        )


def _corners(box: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """x, y, width, height to x1, y1, x2, y2 in another scale."""
    return xywh_to_xyxy(box) * np.tile(scale, 2)


def _context_box(box: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A square three times the box, at least a third of the image, moved inside the image."""
    height, width = shape[:2]
    side = max(3 * (box[2:] - box[:2]).max(), max(height, width) / 3)
    low = (box[:2] + box[2:] - side) / 2
    low = np.maximum(0, np.minimum(low, [width - side, height - side]))
    return np.concatenate([low, low + side])


def _draw_gt(image: np.ndarray, box: np.ndarray) -> None:
    """The ground truth: a white line with black dashes, unlike any track."""
    low, high = np.round(box[:2]).astype(int), np.round(box[2:]).astype(int)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    cv2.rectangle(image, corners[0], corners[2], _GT_COLOR, 2)
    for start, end in zip(corners, corners[1:] + corners[:1]):
        start, end = np.array(start, dtype=float), np.array(end, dtype=float)
        steps = max(1, round(np.linalg.norm(end - start) / 6))
        ends = np.round(start + (end - start) * np.linspace(0, 1, steps + 1)[:, None]).astype(int)
        for a, b in zip(ends[::2], ends[1::2]):
            cv2.line(image, a.tolist(), b.tolist(), (0, 0, 0), 2)
