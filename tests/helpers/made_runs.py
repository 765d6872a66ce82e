"""Made-up runs for the report's tests, and a reader of its pages."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import av
import numpy as np

from effowt_d2.report import ReportWriter
from effowt_d2.video import FrameTracks

SIZE = (160, 96)  # width, height


def make_frame(index: int, rows: list[tuple], *, fps: float = 10.0, size=SIZE, names=None, name=None) -> FrameTracks:
    """A noisy frame; rows of (id, x1, y1, x2, y2, score), each painted in a shade of its own."""
    image = np.random.default_rng(index).integers(0, 90, (size[1], size[0], 3), dtype=np.uint8)
    table = np.array(rows, dtype=float).reshape(-1, 6)
    for track_id, x1, y1, x2, y2 in table[:, :5].astype(int):
        image[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = (90 + 37 * track_id) % 160 + 95
    return FrameTracks(
        index=index,
        time=index / fps,
        name=name or f"clip:{index:06d}",
        image=image,
        boxes=table[:, 1:5],
        ids=table[:, 0].astype(np.int64),
        scores=table[:, 5],
        names=names,
        name_scores=None if names is None else np.full(len(names), 0.75),
    )


def three_tracks(count: int = 12, names: bool = False) -> list[FrameTracks]:
    """Track 7 all the way, track 2 with a gap at the frames 4 and 5, track 5 in the last two frames only."""
    frames = []
    for t in range(count):
        rows = [(7, 10 + 4 * t, 10, 40 + 4 * t, 40, 0.9)]
        if t not in (4, 5):
            rows.append((2, 100, 50, 120 + t, 80, 0.5))
        if t >= count - 2:
            rows.append((5, 60, 60, 80, 80, 0.7))
        labels = [{7: "red <b>cup</b>", 2: "dog", 5: ""}[row[0]] for row in rows] if names else None
        frames.append(make_frame(t, rows, names=labels))
    return frames


def write_report(path: Path, frames: list[FrameTracks], settings=None, descriptions=None, **options) -> "Page":
    """Write a report, with descriptions by track id, and read it back."""
    with ReportWriter(path, fps=10.0, settings=settings or {"input": "clip.mp4"}, **options) as report:
        for tracks in frames:
            report.write(tracks)
        for track_id, views in (descriptions or {}).items():
            report.describe(track_id, views)
    return Page(path)


class Page(HTMLParser):
    """A page as the browser's parser cuts it.

    Attributes:
        text: the whole file.
        data: what the scripts show.
        frames, tracks: the records of each.
        film: the video, an mp4.
        scripts: text of the scripts that run.
        tags: (name, attributes) of every element.
        title: text of the title.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.frames, self.tracks, self.scripts, self.tags, self.title = [], [], [], [], ""
        self._inside: tuple[str, dict] = ("", {})
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self._inside = (tag, dict(attrs))
        self.tags.append(self._inside)

    def handle_endtag(self, tag):
        self._inside = ("", {})

    def handle_data(self, data):
        tag, attributes = self._inside
        if tag == "title":
            self.title += data
        elif tag == "script" and "class" in attributes:
            {"frame": self.frames, "track": self.tracks}[attributes["class"]].append(json.loads(data))
        elif tag == "script" and attributes.get("id") == "film":
            self.film = base64.b64decode(data)
        elif tag == "script" and attributes.get("id") == "data":
            self.data = json.loads(data)
        elif tag == "script":
            self.scripts.append(data)

    def pictures(self) -> list[tuple[float, np.ndarray]]:
        """Seconds and (H, W, 3) BGR of the frames of the film."""
        with av.open(io.BytesIO(self.film)) as container:
            return [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]

    def track(self, track_id: int) -> dict:
        return next(track for track in self.tracks if track["id"] == track_id)
