"""Tracking results as arrays: from a file, a list or arrays, checked against the ground truth's images."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NoReturn

import numpy as np

from effowt_d2.utils.typed import as_typed_list

from .entries import NO_VIDEO, ResultEntry, box_column, column
from .ground_truth import Frames
from .json_stream import read_json_list

__all__ = ["Results", "ResultsError", "check_results", "load_results"]

SLICE = 1 << 18  # entries of a list turned into arrays at once


class ResultsError(ValueError):
    """Results that cannot be scored; the message names file, entry and value."""


@dataclass(frozen=True)
class Results:
    """N results in file order.

    Attributes:
        file: name for messages.
        image_id: (N,) int64.
        bbox: (N, 4) float64, x, y, width, height in pixels of the original image.
        score: (N,) float64 in [0, 1].
        track_id: (N,) int64, not negative.
        video_id: (N,) int64; ``NO_VIDEO`` where the entry has none.
    """

    file: str
    image_id: np.ndarray
    bbox: np.ndarray
    score: np.ndarray
    track_id: np.ndarray
    video_id: np.ndarray

    def __len__(self) -> int:
        return len(self.image_id)

    def fail(self, index: int, message: str) -> NoReturn:
        """Raise ResultsError for one entry."""
        raise ResultsError(f"{self.file}: entry {index}: {message}")


def load_results(
    source: str | os.PathLike | Sequence[dict] | Mapping[str, np.ndarray] | Results,
    progress: bool | None = None,
) -> Results:
    """Read results without interpreting them.

    Args:
        source: path of a result JSON file, its content as a list of objects, or a mapping of arrays image_id,
            bbox, score, track_id and, if known, video_id; loaded results are passed through.
        progress: True shows a bar while a file is read, False none, None only on a terminal.

    Raises:
        ResultsError: malformed JSON, a missing field, or a field of the wrong type.
    """
    if isinstance(source, Results):
        return source
    if isinstance(source, Mapping):
        return _from_arrays(source)
    if isinstance(source, (str, os.PathLike)):
        file = os.fspath(source)
        return _from_pieces(read_json_list(file, ResultEntry, ResultsError, progress), file)
    if not isinstance(source, (list, tuple)):
        raise ResultsError(f"results: expected a path, a list or a dict of arrays, got {type(source)}")
    pieces = (
        as_typed_list(source[start : start + SLICE], ResultEntry, "results: entry", ResultsError, start)
        for start in range(0, len(source), SLICE)
    )
    return _from_pieces(pieces, "results")


def check_results(results: Results, frames: Frames) -> np.ndarray:
    """Check every entry and find its image.

    Returns:
        (N,) int64 positions of the images in the ground truth.

    Raises:
        ResultsError: an unknown or contradictory id, or a value out of range; the first such entry is named.
    """
    place = np.searchsorted(frames.image_ids, results.image_id)
    found = np.append(frames.image_ids, 0)[place]
    _require(
        results,
        (place < len(frames.image_ids)) & (found == results.image_id),
        "image_id",
        f"is the id of no image in {frames.file}",
    )
    missing = results.video_id == NO_VIDEO
    video = frames.video_ids[frames.image_video[place]]
    known = np.isin(results.video_id, frames.video_ids) | missing
    _require(results, known, "video_id", f"is the id of no video in {frames.file}")
    _require(results, (results.video_id == video) | missing, "video_id", "is not the video of its image")
    _require(results, np.isfinite(results.bbox).all(axis=1), "bbox", "must be finite")
    positive = (results.bbox[:, 2:] >= 0).all(axis=1)
    _require(results, positive, "bbox", "must have a width and height from 0 on")
    _require(results, (results.score >= 0) & (results.score <= 1), "score", "must lie in [0, 1]")
    _require(results, results.track_id >= 0, "track_id", "must not be negative")
    return place


def _require(results: Results, good: np.ndarray | np.bool_, field: str, rule: str) -> None:
    if not good.all():
        index = int(np.argmin(good))
        results.fail(index, f"'{field}' {getattr(results, field)[index].tolist()} {rule}")


def _from_pieces(pieces: Iterable[Sequence[ResultEntry]], file: str) -> Results:
    columns: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(Results) if field.name != "file"}
    for piece in pieces:
        for name in ("image_id", "track_id", "video_id"):
            columns[name].append(column(piece, name))
        columns["score"].append(column(piece, "score", np.float64))
        columns["bbox"].append(box_column(piece))
    if not columns["score"]:
        return _empty(file)
    # one column at a time, so that only one exists twice
    return Results(file, **{name: np.concatenate(_drain(columns, name)) for name in list(columns)})


def _drain(columns: dict, name: str) -> list:
    return columns.pop(name)


def _empty(file: str) -> Results:
    ids = np.zeros(0, dtype=np.int64)
    return Results(file, ids, np.zeros((0, 4)), np.zeros(0), ids, ids)


def _from_arrays(source: Mapping[str, np.ndarray]) -> Results:
    names = [field.name for field in fields(Results) if field.name != "file"]
    missing = [name for name in names if name not in source and name != "video_id"]
    if missing:
        raise ResultsError(f"results: the arrays {missing} are missing; there are {list(source)}")
    columns = {name: np.asarray(source[name]) for name in names if name in source}
    count = len(columns["image_id"])
    columns.setdefault("video_id", np.full(count, NO_VIDEO))
    for name, values in columns.items():
        shape = (count, 4) if name == "bbox" else (count,)
        if values.shape != shape:
            raise ResultsError(f"results: '{name}' has the shape {values.shape}, expected {shape}")
        columns[name] = _as_column(name, values)
    return Results("results", **columns)


def _as_column(name: str, column: np.ndarray) -> np.ndarray:
    is_id = name not in ("bbox", "score")
    # an empty array has whatever type numpy gave it
    if column.size and column.dtype.kind not in ("iu" if is_id else "iuf"):
        expected = "integers" if is_id else "numbers"
        raise ResultsError(f"results: '{name}' must hold {expected}, got {column.dtype}: {column.flat[0]!r}")
    if column.dtype == np.uint64 and is_id and column.size and column.max() > np.iinfo(np.int64).max:
        raise ResultsError(f"results: '{name}' must hold 64-bit integers, got {column.max()}")
    return column.astype(np.int64 if is_id else np.float64, copy=False)
