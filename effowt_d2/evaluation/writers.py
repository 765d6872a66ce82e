"""Results to files: the result JSON that trackeval reads, and MOTChallenge text."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from effowt_d2.utils.files import write_atomically

from .entries import NO_VIDEO
from .ground_truth import Frames, load_frames
from .result_text import JSON_LIST_END, JSON_LIST_START, json_list_items, mot_line
from .results_io import SLICE, Results, check_results, load_results

__all__ = ["write_mot_challenge", "write_results_json"]


def write_results_json(results: Results, path: str | os.PathLike) -> None:
    """Write results as one flat JSON list; the file appears complete or not at all.

    Args:
        results: the results; an entry without a video has no field video_id.
        path: the file; its folder is created.

    Raises:
        OSError: it cannot be written.
    """

    def write(file: BinaryIO) -> None:
        file.write(JSON_LIST_START.encode())
        for start in range(0, len(results), SLICE):
            file.write(json_list_items(_entries(results, start, start + SLICE), before=start).encode())
        file.write(JSON_LIST_END.encode())

    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    write_atomically(path, write)


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
        OSError: a file cannot be written.
    """
    frames = gt if isinstance(gt, Frames) else load_frames(gt)
    results = load_results(results)
    image = check_results(results, frames)
    number = _frame_numbers(frames)[image]
    order = np.lexsort((number, frames.image_video[image]))
    stops = np.searchsorted(frames.image_video[image][order], np.arange(len(frames.video_ids) + 1))
    os.makedirs(folder, exist_ok=True)
    for name, start, stop in zip(frames.video_names, stops[:-1], stops[1:]):
        rows = order[start:stop]
        columns = (number[rows], results.track_id[rows], results.bbox[rows], results.score[rows])
        lines = zip(*(column.tolist() for column in columns))
        text = "".join(mot_line(*line, box_format=".2f", score_format=".6f") for line in lines)
        path = os.path.join(folder, name.replace("/", "-") + ".txt")
        write_atomically(path, _writes(text), durable=False)


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


def _writes(text: str) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(text.encode())
