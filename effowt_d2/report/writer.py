"""Writes the report of a run, frame by frame, in constant memory."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import detectron2
import numpy as np
import torch

from effowt_d2.utils.files import is_disk_full, write_atomically
from effowt_d2.utils.outputs import check_file
from effowt_d2.version import __version__
from effowt_d2.video import FrameTracks
from effowt_d2.video.address import is_address, redacted_address

from .film import Film
from .page import to_json, write_page
from .scores import score
from .spool import Spool
from .track_records import TrackRecords
from .truth import VideoTruth

__all__ = ["ReportWriter"]

_LONGEST = 640  # pixels of a frame's longest side
# the rest of the frames' budget goes to the crops of tracks
_FRAMES_FRACTION = 0.8


class ReportWriter:
    """A page that appears on ``close`` only, then whole; without frames there is none.

    Frames wait as H.264, and their boxes as JSON, in files without a name beside the page. Where they outgrow the budget,
    every second, fourth, ... is shown, and the page reports it.

    Args:
        path: where to; ``.html`` or ``.htm``.
        fps: frames per second of what is written: the source's divided by the stride.
        settings: what the run was made with, shown on the page; nested mappings as "a.b", paths without their folders.
            Its "input", a path or a list of them, is the title and selects the video of a ground truth that has several.
        gt: a TAO-format ground truth to compare with.
        max_bytes: approximate maximum of image bytes in the page.

    Raises:
        ValueError: unknown file extension, fps not above 0, or a ground truth that can't be used.
        OSError: the page can't be written there, or the ground truth not read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        settings: Mapping,
        gt: str | os.PathLike | None = None,
        max_bytes: int = 40_000_000,
    ) -> None:
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"report {path}: unknown file extension {path.suffix!r}; known: .html, .htm")
        if not fps > 0:
            raise ValueError(f"report {path}: frames per second must be above 0, got {fps}")
        check_file(path)
        self.path, self.frames, self._end = path, 0, 0.0
        self._fps, self._settings = fps, list(_flatten(settings))
        self._title = _title(settings.get("input"), path)
        self._truth = VideoTruth(gt, settings.get("input")) if gt is not None else None
        self._frames_budget = round(_FRAMES_FRACTION * max_bytes)
        self._spool = Spool(path.parent, self._frames_budget)
        self._film = Film(path.parent, fps=fps, longest=_LONGEST)
        self._lives = TrackRecords(round((1 - _FRAMES_FRACTION) * max_bytes))

    def write(self, tracks: FrameTracks) -> None:
        """Take in a frame; its image must not be drawn on yet."""
        if self._spool.accepts(self.frames):
            self._keep(tracks)
        self._lives.update(self.frames, tracks)
        if self._truth:
            self._truth.add(self.frames, tracks)
        self.frames += 1
        self._end = tracks.time + 1 / self._fps

    def describe(self, track_id: int, views: Sequence[Mapping]) -> None:
        """Take in what was said about views of a track: dicts of ``time``, ``text``, ``tokens``, ``image_tokens``,
        ``kept_tokens`` and ``seconds``."""
        self._lives.describe(track_id, views)

    def _keep(self, tracks: FrameTracks) -> None:
        self._film.add(tracks.image, tracks.time)
        try:
            self._spool.add(self._record(tracks), tracks.time)
        except OSError:
            self._film.drop_last()
            raise
        while self._film.stride < self._spool.stride:
            self._film.thin()
        # as base64, four characters for three bytes
        while self._spool.bytes + self._film.bytes * 4 // 3 > self._frames_budget and self._spool.thin():
            self._film.thin()

    def _record(self, tracks: FrameTracks) -> bytes:
        """The boxes of a frame for the page, in pixels of the film, the surest last."""
        scale = np.tile(self._film.scale(tracks.image.shape[1], tracks.image.shape[0]), 2)
        order = np.argsort(tracks.scores, kind="stable")
        boxes = np.round(tracks.boxes[order] * scale, 1).tolist()
        scores = np.round(tracks.scores[order].astype(float), 3).tolist()
        record = dict(
            index=tracks.index,
            time=round(tracks.time, 4),
            name=tracks.name,
            boxes=[[track_id, *box, value] for track_id, box, value in zip(tracks.ids[order].tolist(), boxes, scores)],
        )
        return to_json(record).encode()

    def close(self) -> None:
        """Write the page and give it its name. On a full disk it gets fewer frames, until it fits.

        Raises:
            OSError: it can't be written even with a single frame.
        """
        try:
            while len(self._spool) and not self._write_page():
                self._spool.thin()
                self._film.thin()
        finally:
            self._spool.close()
            self._film.close()

    def _write_page(self) -> bool:
        """Whether the page fitted on the disk."""
        data, film = self._data(), self._film.mp4()
        try:
            write_atomically(self.path, lambda file: write_page(file, self._title, data, self._records(), film))
        except OSError as error:
            if is_disk_full(error) and len(self._spool) > 1:
                return False
            raise
        return True

    def _records(self) -> Iterator[tuple[str, bytes]]:
        for frame in self._spool:
            yield "frame", frame
        for life in self._lives:
            yield "track", to_json(life.summary(1 / self._fps)).encode()

    def _data(self) -> dict:
        return dict(
            title=self._title,
            made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            fps=self._fps,
            frames=self.frames,
            stride=self._spool.stride,
            times=[round(time, 4) for time in self._spool.times],
            end=round(self._end, 3),
            boxes=self._lives.boxes,
            most=self._lives.most,
            without_views=self._lives.without_views,
            settings=self._settings,
            versions=_versions(),
            scores=score(self._truth, self._film) if self._truth else None,
            size=self._film.size,
        )

    def __enter__(self) -> "ReportWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _title(source: object, path: Path) -> str:
    if source is None:
        return path.stem
    if isinstance(source, (list, tuple)):
        if len(source) != 1:
            return f"{len(source)} images"
        source = source[0]
    return Path(str(source)).name or str(source)


def _flatten(settings: Mapping, before: str = "") -> Iterator[list[str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{before}{key}.")
        else:
            yield [f"{before}{key}", _shown(value)]


def _shown(value: object) -> str:
    """A setting without the folders of its paths: a page is passed on."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    text = str(value)
    if is_address(text):
        return redacted_address(text)
    path = Path(text)
    local = isinstance(value, (str, os.PathLike)) and len(path.parts) > 1
    # what a run has written may not be there yet
    return path.name if local and (path.is_absolute() or path.parent.is_dir()) else text


def _versions() -> dict[str, str]:
    return {
        "effowt_d2": __version__,
        "Detectron2": detectron2.__version__,
        "PyTorch": str(torch.__version__),
        "OpenCV": cv2.__version__,
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }
