"""A record of each track in a video: its time spans, scores and best views."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from effowt_d2.video import FrameTracks
from effowt_d2.visualization import track_color

from .views import View, add_view

__all__ = ["TrackRecord", "TrackRecords"]

# a track that flickers is drawn coarser rather than remembered at any length
_MAX_PARTS = 200


@dataclass
class TrackRecord:
    """One track from its birth to its latest frame.

    Attributes:
        track_id: its id.
        first, last: indices of its first and latest frame in the source.
        frames: frames it was seen in.
        gaps: times it was lost and found again.
        score_sum: sum of its scores.
        parts: [start, end] seconds without a gap, in order; short gaps are closed where there are too many.
        views: its best views, in order of time.
        name, name_score: its latest name and how sure that is, if it has one.
        said: what its views were described by, if they were.
    """

    track_id: int
    first: int
    last: int = 0
    frames: int = 0
    gaps: int = 0
    score_sum: float = 0.0
    parts: list[list[float]] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    name: str = ""
    name_score: float | None = None
    said: list[dict] = field(default_factory=list)
    _position: int = field(default=-2, init=False, repr=False)

    def see(self, position: int, index: int, time: float, score: float) -> None:
        """Take in a frame that shows the track; ``position`` counts the frames of the run."""
        if position == self._position + 1:
            self.parts[-1][1] = time
        else:
            self.gaps += bool(self.parts)
            self.parts.append([time, time])
            if len(self.parts) > _MAX_PARTS:
                self._close_shortest_gaps()
        self._position, self.last = position, index
        self.frames += 1
        self.score_sum += score

    def _close_shortest_gaps(self) -> None:
        starts, ends = np.array(self.parts).T
        widest = np.sort(np.argsort(starts[1:] - ends[:-1], kind="stable")[-(_MAX_PARTS // 2) :])
        bounds = np.concatenate([starts[:1], np.stack([ends[widest], starts[widest + 1]], 1).ravel(), ends[-1:]])
        self.parts = bounds.reshape(-1, 2).tolist()

    def summary(self, frame_time: float) -> dict:
        """The track for the page; its parts last until their latest frame's end."""
        described = {"said": self.said} if self.said else {}
        return dict(
            id=self.track_id,
            name=self.name,
            name_score=self.name_score,
            color=_css_color(self.track_id),
            first=self.first,
            last=self.last,
            frames=self.frames,
            gaps=self.gaps,
            score=round(self.score_sum / self.frames, 4),
            parts=[[round(start, 3), round(end + frame_time, 3)] for start, end in self.parts],
            views=[view.summary() for view in self.views],
            **described,
        )


class TrackRecords:
    """All tracks of a run.

    Args:
        max_bytes: most bytes of views kept in all; tracks seen least, or with the lowest scores, lose theirs.

    Attributes:
        boxes: boxes seen.
        most: most tracks in one frame.
        without_views: times that a track lost its views.
    """

    def __init__(self, max_bytes: int) -> None:
        self._lives: dict[int, TrackRecord] = {}
        self._max_bytes, self._bytes = max_bytes, 0
        self.boxes = self.most = self.without_views = 0

    def update(self, position: int, tracks: FrameTracks) -> None:
        """Take in a frame."""
        for row, (track_id, score) in enumerate(zip(tracks.ids.tolist(), tracks.scores.tolist())):
            life = self._lives.setdefault(track_id, TrackRecord(track_id, first=tracks.index))
            life.see(position, tracks.index, tracks.time, score)
            self._bytes += add_view(life.views, tracks.image, tracks.boxes[row], score, tracks.time, life.parts[0][0])
            if tracks.names and tracks.names[row]:
                life.name = tracks.names[row]
                life.name_score = None if tracks.name_scores is None else round(float(tracks.name_scores[row]), 4)
        self.boxes += len(tracks.ids)
        self.most = max(self.most, len(tracks.ids))
        if self._bytes > self._max_bytes:
            self._drop_views()

    def describe(self, track_id: int, views: Sequence[Mapping]) -> None:
        """Note what was said about a track that was seen."""
        self._lives[track_id].said = [{**view, "seconds": round(view["seconds"], 3)} for view in views]

    def _drop_views(self) -> None:
        # down to three quarters, so that it is not done for every frame
        for life in sorted(self._lives.values(), key=lambda life: life.score_sum):
            if self._bytes <= 0.75 * self._max_bytes:
                break
            self.without_views += bool(life.views)
            self._bytes -= sum(len(view.jpeg) for view in life.views)
            life.views.clear()

    def __len__(self) -> int:
        return len(self._lives)

    def __iter__(self) -> Iterator[TrackRecord]:
        return iter(self._lives.values())


def _css_color(track_id: int) -> str:
    blue, green, red = track_color(track_id)
    return f"#{red:02x}{green:02x}{blue:02x}"
