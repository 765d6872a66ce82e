"""Tracks of a video as files other tools read, written frame by frame in constant memory."""

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .outputs import check_file, partial_name

__all__ = ["FrameTracks", "RESULT_ENDINGS", "ResultsWriter", "open_results"]


@dataclass
class FrameTracks:
    """The tracks of one frame.

    Attributes:
        index: place of the frame in the source, from 0.
        time: seconds from the start of the source.
        name: name of the frame.
        image: (H, W, 3) BGR uint8.
        boxes: (N, 4) float x1, y1, x2, y2 in pixels of the image.
        ids: (N,) int64 track ids, none negative.
        scores: (N,) float.
    """

    index: int
    time: float
    name: str
    image: np.ndarray
    boxes: np.ndarray
    ids: np.ndarray
    scores: np.ndarray

    def above(self, score: float) -> "FrameTracks":
        """The same frame with only the tracks scored ``score`` or better."""
        keep = self.scores >= score
        return FrameTracks(
            self.index, self.time, self.name, self.image, self.boxes[keep], self.ids[keep], self.scores[keep]
        )


def _rows(tracks: FrameTracks):
    """(id, (x, y, width, height), score) of each track as plain numbers, to a thousandth of a pixel."""
    sizes = np.concatenate([tracks.boxes[:, :2], tracks.boxes[:, 2:] - tracks.boxes[:, :2]], axis=1)
    for track_id, box, score in zip(tracks.ids.tolist(), sizes.tolist(), tracks.scores.tolist()):
        yield track_id, [round(value, 3) for value in box], round(score, 6)


class ResultsWriter:
    """A results file that appears on ``close`` only, then whole; without frames there is no file.

    Args:
        path: where to.

    Raises:
        OSError: the file can't be written there.
    """

    header, footer = "", ""

    def __init__(self, path: Path) -> None:
        check_file(path)
        self.path = path
        self.tracks = 0
        self._partial = partial_name(path)
        self._file: io.TextIOWrapper | None = None

    def write(self, tracks: FrameTracks) -> None:
        """Append the tracks of a frame."""
        if self._file is None:
            self._file = open(self._partial, "w", encoding="utf-8", newline="")
            self._file.write(self.header)
        # one call a frame: an interrupt falls between frames, not into a line
        self._file.write(self._format(tracks))
        self.tracks += len(tracks.ids)

    def _format(self, tracks: FrameTracks) -> str:
        raise NotImplementedError

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._file is None:
            return
        with self._file:
            self._file.write(self.footer)
        self._file = None
        os.replace(self._partial, self.path)

    def __enter__(self) -> "ResultsWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _TaoJson(ResultsWriter):
    """TAO's flat list: ``image_id`` is the frame's index, ``video_id`` and ``category_id`` are 1."""

    header, footer = "[", "\n]\n"

    def _format(self, tracks: FrameTracks) -> str:
        same = dict(image_id=tracks.index, video_id=1, category_id=1)
        lines = [
            json.dumps(dict(same, track_id=track_id, bbox=box, score=score))
            for track_id, box, score in _rows(tracks)
        ]
        first = "\n" if self.tracks == 0 else ",\n"
        return first + ",\n".join(lines) if lines else ""


class _MotText(ResultsWriter):
    """MOTChallenge's lines: frame and id from 1, left, top, width, height, score, three unused columns."""

    def _format(self, tracks: FrameTracks) -> str:
        return "".join(
            f"{tracks.index + 1},{track_id + 1},{','.join(map(str, box))},{score},-1,-1,-1\n"
            for track_id, box, score in _rows(tracks)
        )


class _Csv(ResultsWriter):
    """A table with a header: one line per frame and track."""

    header = "frame,time,name,track_id,x,y,width,height,score\n"

    def _format(self, tracks: FrameTracks) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for track_id, box, score in _rows(tracks):
            writer.writerow([tracks.index, round(tracks.time, 4), tracks.name, track_id, *box, score])
        return text.getvalue()


RESULT_ENDINGS: dict[str, type[ResultsWriter]] = {".json": _TaoJson, ".txt": _MotText, ".csv": _Csv}


def open_results(path: str | Path) -> ResultsWriter:
    """A writer for ``.json`` (TAO), ``.txt`` (MOTChallenge) or ``.csv``.

    Raises:
        ValueError: unknown ending.
        OSError: nothing can be written there.
    """
    path = Path(path)
    if path.suffix.lower() not in RESULT_ENDINGS:
        known = ", ".join(RESULT_ENDINGS)
        raise ValueError(f"results {path}: unknown ending {path.suffix!r}; known: {known}")
    return RESULT_ENDINGS[path.suffix.lower()](path)
