"""A results file written frame by frame in constant memory, and whole after every frame."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from effowt_d2.utils.boxes import xyxy_to_xywh
from effowt_d2.utils.files import partial_name, publish
from effowt_d2.utils.outputs import check_file

from .frame_tracks import FrameTracks

__all__ = ["GrowingFile", "ResultsWriter", "track_rows"]


def track_rows(tracks: FrameTracks) -> Iterator[tuple[int, list[float], float, dict]]:
    """Each track as plain numbers, to a thousandth of a pixel.

    Yields:
        id, [x, y, width, height], score, and ``{"name", "name_score"}``, empty where the track has no name.
    """
    boxes = xyxy_to_xywh(tracks.boxes).tolist()
    for row, (track_id, box, score) in enumerate(zip(tracks.ids.tolist(), boxes, tracks.scores.tolist())):
        named = {}
        if tracks.names is not None and tracks.name_scores is not None and tracks.names[row]:
            named = dict(name=tracks.names[row], name_score=round(float(tracks.name_scores[row]), 6))
        yield track_id, [round(value, 3) for value in box], round(score, 6), named


class GrowingFile:
    """A text file that ends with the same words whenever it is looked at, and loses nothing when the disk is full.

    Args:
        path: where to.
        header, footer: its beginning and its end.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, path: Path, header: str, footer: str) -> None:
        self.path = path
        self._footer = footer.encode()
        # unbuffered: what write() doesn't complain about is with the system, so a full disk is known at once
        self._file: io.FileIO = open(path, "wb", buffering=0)
        self._end = 0
        self.append(header)

    def append(self, text: str) -> None:
        """Add text before the footer.

        Raises:
            OSError: it could not be written; the file is as before then.
        """
        # names of files may hold bytes that are no text
        data = text.encode(errors="backslashreplace")
        try:
            self._write(data + self._footer)
        except OSError:
            self._file.truncate(self._end)
            self._write(self._footer)
            raise
        self._end += len(data)

    def _write(self, data: bytes) -> None:
        self._file.seek(self._end)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file; it is whole already."""
        self._file.close()


class ResultsWriter:
    """A results file that appears under its name on ``close``; without frames there is no file.

    Args:
        path: where to.
        video: name of the video; None: that of the file.
        words: all names that tracks may get.

    Raises:
        OSError: the file can't be written there.
    """

    header, footer = "", ""

    def __init__(self, path: Path, *, video: str | None = None, words: Sequence[str] = ()) -> None:
        check_file(path)
        self.path, self.video, self.words = path, path.name.split(".")[0] if video is None else video, words
        self.frames = self.tracks = 0
        self._partial = partial_name(path)
        self._file: GrowingFile | None = None

    def write(self, tracks: FrameTracks) -> None:
        """Append the tracks of a frame.

        Raises:
            OSError: the disk is full, or another reason it names; the frames before are in the file on ``close``.
        """
        if self._file is None:
            self._file = GrowingFile(self._partial, self._header(tracks), self.footer)
        try:
            self._append(self._file, tracks)
        except OSError as error:
            reason = f"{error.strerror}: the file holds the {self.frames} frames before"
            raise OSError(error.errno, reason, str(self.path)) from error
        self.frames += 1
        self.tracks += len(tracks.ids)

    def _header(self, tracks: FrameTracks) -> str:
        return self.header

    def _append(self, file: GrowingFile, tracks: FrameTracks) -> None:
        file.append(self._format(tracks))

    def _format(self, tracks: FrameTracks) -> str:
        raise NotImplementedError

    def close(self) -> None:
        """Give the file its name."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        publish(self._partial, self.path)

    def __enter__(self) -> "ResultsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
