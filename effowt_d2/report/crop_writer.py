"""The best views of every track as files."""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from effowt_d2.utils.files import write_atomically
from effowt_d2.utils.outputs import check_folder
from effowt_d2.video import FrameTracks
from effowt_d2.video.best_views import insert, replaceable_views

from .image_crops import crop_box

__all__ = ["CropWriter"]

_QUALITY = 95


@dataclass(eq=False)
class _Crop:
    """A file: seconds of its frame, score times area in pixels, and where it is."""

    time: float
    worth: float
    path: Path


class CropWriter:
    """A folder of JPEGs, up to four of each track: large, sure, and spread over its time.

    A file is ``track000007_frame000123.jpg``, in the pixels of the frame. It is there from its frame on, until a better one
    takes its place.

    Args:
        path: the folder, made if it's missing.
        overwrite: whether the crops of an earlier run are removed, once the first frame comes.

    Attributes:
        frames: frames seen so far.

    Raises:
        FileExistsError: it holds crops already, and ``overwrite`` is false.
        OSError: no files can be written there.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path, self.frames = Path(path), 0
        check_folder(self.path)
        self._old = [file for file in self.path.iterdir() if re.fullmatch(r"track\d{6,}_frame\d{6,}\.jpg", file.name)]
        if self._old and not overwrite:
            raise FileExistsError(f"folder {path} holds crops already ({self._old[0].name}): give another, or empty it")
        self._crops: dict[int, list[_Crop]] = {}
        self._births: dict[int, float] = {}

    def write(self, tracks: FrameTracks) -> None:
        """Take in a frame; its image must not be drawn on yet.

        Raises:
            OSError: the disk is full; no part of a crop is left then.
        """
        while self._old:
            self._old.pop().unlink()
        for track_id, box, score in zip(tracks.ids.tolist(), tracks.boxes, tracks.scores.tolist()):
            crop = crop_box(tracks.image, box)
            if crop.size:
                self._add(track_id, crop, score * crop.shape[0] * crop.shape[1], tracks)
        self.frames += 1

    def _add(self, track_id: int, crop: np.ndarray, worth: float, tracks: FrameTracks) -> None:
        views = self._crops.setdefault(track_id, [])
        near = replaceable_views(views, worth, tracks.time, self._births.setdefault(track_id, tracks.time))
        if near is None:
            return
        data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        path = self.path / f"track{track_id:06d}_frame{tracks.index:06d}.jpg"
        write_atomically(path, lambda file: file.write(data), durable=False)
        for gone in insert(views, _Crop(tracks.time, worth, path), near):
            gone.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is left open."""

    def __enter__(self) -> "CropWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
