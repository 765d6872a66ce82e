"""Results to files: the result JSON that trackeval reads, and MOTChallenge text."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import numpy as np

from .ground_truth import Frames, load_frames
from .results_io import NO_VIDEO, SLICE, Results, check_results, load_results

__all__ = ["write_mot_challenge", "write_results_json"]

MOT_LINE = "%d,%d,%.2f,%.2f,%.2f,%.2f,%.6f,-1,-1,-1\n"


def write_results_json(results: Results, path: str | os.PathLike) -> None:
    """Write results as one flat JSON list; the file appears complete or not at all.

    Args:
        results: the results; an entry without a video has no field video_id.
        path: the file; its folder is created.
    """
    with _atomic(path) as file:
        file.write("[")
        for start in range(0, len(results), SLICE):
            entries = _entries(results, start, start + SLICE)
            file.write((",\n" if start else "\n") + ",\n".join(map(json.dumps, entries)))
        file.write("\n]\n")


def write_mot_challenge(
    results: str | os.PathLike | Sequence[dict] | Mapping[str, np.ndarray] | Results,
    gt: str | os.PathLike | Mapping | Frames,
    folder: str | os.PathLike,
) -> None:
    """Write results as MOTChallenge text, one file a video.

    A line is ``frame,id,left,top,width,height,score,-1,-1,-1``: frames count the dataset's images of the
    video from 1 in order of frame_index; boxes are pixels as in the results. A video without results has an
    empty file.

    Args:
        results: what :func:`load_results` takes.
        gt: path or content of the TAO-format dataset; its annotations are not needed.
        folder: receives VIDEO.txt, the video's name with "/" written as "-"; created.

    Raises:
        ResultsError, GroundTruthError: as in the evaluation.
    """
    frames = gt if isinstance(gt, Frames) else load_frames(gt)
    results = load_results(results)
    image = check_results(results, frames)
    number = _frame_numbers(frames)[image]
    order = np.lexsort((number, frames.image_video[image]))
    stops = np.searchsorted(frames.image_video[image][order], np.arange(len(frames.video_ids) + 1))
    for name, start, stop in zip(frames.video_names, stops[:-1], stops[1:]):
        with _atomic(os.path.join(folder, name.replace("/", "-") + ".txt")) as file:
            rows = order[start:stop]
            columns = (number[rows], results.track_id[rows], results.bbox[rows], results.score[rows])
            for frame, track, box, score in zip(*(column.tolist() for column in columns)):
                file.write(MOT_LINE % (frame, track, *box, score))


def _frame_numbers(frames: Frames) -> np.ndarray:
    """(I,) place of every image in its video, from 1."""
    order = np.lexsort((frames.image_frame, frames.image_video))
    first = np.searchsorted(frames.image_video[order], frames.image_video[order])
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.arange(len(order)) - first + 1
    return numbers


def _entries(results: Results, start: int, stop: int) -> Iterator[dict]:
    columns = (results.image_id, results.bbox, results.score, results.track_id, results.video_id)
    for image, box, score, track, video in zip(*(column[start:stop].tolist() for column in columns)):
        entry = {"image_id": image, "category_id": 1, "bbox": box, "score": score, "track_id": track}
        if video != NO_VIDEO:
            entry["video_id"] = video
        yield entry


@contextlib.contextmanager
def _atomic(path: str | os.PathLike) -> Iterator[TextIO]:
    """A text file for writing that takes its name only when it is complete."""
    path = os.fspath(path)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path  # a full disk does not say which file it has no room for
        raise
