"""Result files as the evaluation servers and scripts of the datasets take them, and their reader.

Boxes are (N, 4) float64 x0, y0, x1, y1 in pixels, frame by frame; lines hold x, y, width, height.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from effowt_d2.utils.boxes import xyxy_to_xywh
from effowt_d2.utils.files import write_atomically
from sot.maps import rasterise

from .rules import Rules

__all__ = ["WRITERS", "write_got10k", "write_text", "write_trackingnet"]


def write_got10k(
    folder: Path, tracker: str, boxes: Mapping[str, np.ndarray], seconds: Mapping[str, Sequence[float]], run: int = 1
) -> Path:
    """Write ``TRACKER/SEQUENCE/SEQUENCE_001.txt`` and ``..._time.txt``, and ``TRACKER.zip`` of them.

    Args:
        folder: is made where it is missing.
        tracker: name of the tracker.
        boxes, seconds: per sequence; boxes become the whole pixels that they touch.
        run: number of the run, for a tracker that draws random numbers.

    Returns:
        The zip file, which https://got-10k.aitestunion.com takes.
    """
    files = {}
    for name, sequence in boxes.items():
        files[f"{name}/{name}_{run:03d}.txt"] = _lines(_whole(sequence), "%.4f", ",")
        files[f"{name}/{name}_time.txt"] = _lines(np.asarray(seconds[name]), "%.8f", ",")
    return _write(folder, tracker, files, files)


def write_trackingnet(
    folder: Path, tracker: str, boxes: Mapping[str, np.ndarray], seconds: Mapping[str, Sequence[float]]
) -> Path:
    """Write ``TRACKER/SEQUENCE/SEQUENCE.txt``, and ``TRACKER.zip`` with one file per sequence and no folders."""
    texts = {name: _lines(_whole(sequence), "%.2f", ",") for name, sequence in boxes.items()}
    files = {f"{name}/{name}.txt": text for name, text in texts.items()}
    return _write(folder, tracker, files, {f"{name}.txt": text for name, text in texts.items()})


def write_text(folder: Path, tracker: str, boxes: Mapping[str, np.ndarray], rules: Rules) -> Path:
    """Write ``TRACKER/SEQUENCE.txt`` with tabs and three decimals, as the scripts of most benchmarks read them.

    Returns:
        The folder of the files.
    """
    shift = np.array([1, 1, 0, 0]) if rules.one_based else 0
    target = folder / tracker
    for name, sequence in boxes.items():
        _put(target / f"{rules.file_prefix}{name}.txt", _lines(xyxy_to_xywh(sequence) + shift, "%.3f", "\t"))
    return target


WRITERS = {"got10k": write_got10k, "trackingnet": write_trackingnet}
"""Writers of files for a server by the ``submission`` of a dataset's metadata."""


def _whole(boxes: np.ndarray) -> np.ndarray:
    return xyxy_to_xywh(rasterise(torch.from_numpy(boxes)).numpy())


def _lines(values: np.ndarray, format: str, delimiter: str) -> bytes:
    stream = io.BytesIO()
    np.savetxt(stream, values, fmt=format, delimiter=delimiter)
    return stream.getvalue()


def _write(folder: Path, tracker: str, files: Mapping[str, bytes], zipped: Mapping[str, bytes]) -> Path:
    for name, text in files.items():
        _put(folder / tracker / name, text)
    archive = folder / f"{tracker}.zip"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in zipped.items():
            file.writestr(name, text)
    write_atomically(archive, lambda target: target.write(stream.getvalue()))
    return archive


def _put(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda stream: stream.write(text), durable=False)
