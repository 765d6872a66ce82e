"""Tracks of a video as TAO, MOTChallenge, COCO-VID, or CSV files."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from effowt_d2.evaluation.result_text import JSON_LIST_END, JSON_LIST_START, json_list_items, mot_line

from .coco_vid import CocoVidJson
from .frame_tracks import FrameTracks
from .results_writer import ResultsWriter, track_rows

__all__ = ["FrameTracks", "RESULT_EXTENSIONS", "ResultsWriter", "open_results"]


class _TaoJson(ResultsWriter):
    """TAO's flat list: ``image_id`` is the frame's index, ``video_id`` and ``category_id`` are 1."""

    header, footer = JSON_LIST_START, JSON_LIST_END

    def _format(self, tracks: FrameTracks) -> str:
        same = dict(image_id=tracks.index, video_id=1, category_id=1)
        entries = (
            dict(same, track_id=track_id, bbox=box, score=score, **named)
            for track_id, box, score, named in track_rows(tracks)
        )
        return json_list_items(entries, before=self.tracks)


class _MotText(ResultsWriter):
    """MOTChallenge's lines: frame and id from 1, left, top, width, height, score, three unused columns."""

    def _format(self, tracks: FrameTracks) -> str:
        return "".join(
            mot_line(tracks.index + 1, track_id + 1, box, score) for track_id, box, score, _ in track_rows(tracks)
        )


class _Csv(ResultsWriter):
    """A table with a header: one line per frame and track; two columns more where tracks are named."""

    def _header(self, tracks: FrameTracks) -> str:
        named = "" if tracks.names is None else ",label,label_score"
        return f"frame,time,name,track_id,x,y,width,height,score{named}\n"

    def _format(self, tracks: FrameTracks) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for track_id, box, score, named in track_rows(tracks):
            label = [] if tracks.names is None else [named.get("name", ""), named.get("name_score", "")]
            writer.writerow([tracks.index, round(tracks.time, 4), tracks.name, track_id, *box, score, *label])
        return text.getvalue()


# an extension that ends with another comes first
RESULT_EXTENSIONS: dict[str, type[ResultsWriter]] = {
    ".cocovid.json": CocoVidJson,
    ".json": _TaoJson,
    ".txt": _MotText,
    ".csv": _Csv,
}


def open_results(path: str | Path, *, video: str | None = None, words: Sequence[str] = ()) -> ResultsWriter:
    """A writer for ``.json`` (TAO), ``.cocovid.json`` (COCO-VID), ``.txt`` (MOTChallenge) or ``.csv``.

    Args:
        path: where to; a file is replaced.
        video: name of the video in COCO-VID; None: that of the file.
        words: all names that tracks may get, the categories of COCO-VID.

    Raises:
        ValueError: unknown file extension.
        OSError: nothing can be written there.
    """
    path = Path(path)
    for extension, writer in RESULT_EXTENSIONS.items():
        if path.name.lower().endswith(extension):
            return writer(path, video=video, words=words)
    known = ", ".join(RESULT_EXTENSIONS)
    raise ValueError(f"results {path}: unknown file extension {path.suffix!r}; known: {known}")
