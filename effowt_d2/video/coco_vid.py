"""Tracks as a COCO-VID file: videos, images, annotations with instance ids, categories."""

import json
import os
from pathlib import Path
from typing import Any

from effowt_d2.evaluation.result_text import json_list_items
from effowt_d2.utils.files import partial_name

from .folder_writer import frame_file
from .frame_tracks import FrameTracks
from .results_writer import GrowingFile, ResultsWriter, track_rows

__all__ = ["CocoVidJson"]

_UNNAMED = "object"


class CocoVidJson(ResultsWriter):
    """COCO's layout with videos, as MMTracking and others read it; all ids count from 1.

    Category 1 is "object": tracks without one of the words. Each word is a category more. ``frame_id`` is
    the frame's index in the source, ``instance_id`` and ``track_id`` are the track's id plus 1. ``file_name`` is the image
    file; frames of a video have the names that a folder of them is written with. Annotations and images grow in a file
    each, which ``close`` joins.

    Args:
        path: where to.
        **about: see :class:`ResultsWriter`.
    """

    footer = "\n]}\n"
    _images: GrowingFile  # from the first frame on

    def __init__(self, path: Path, **about: Any) -> None:
        super().__init__(path, **about)
        words = [_UNNAMED, *(word for word in self.words if word != _UNNAMED)]
        self._categories = {word: number for number, word in enumerate(words, 1)}
        self._images_partial = partial_name(path.with_name(f"{path.stem}-images{path.suffix}"))

    def _header(self, tracks: FrameTracks) -> str:
        height, width = tracks.image.shape[:2]
        video = dict(id=1, name=self.video, height=height, width=width)
        categories = [dict(id=number, name=word) for word, number in self._categories.items()]
        self._images = GrowingFile(self._images_partial, "", "")
        return f'{{"videos": {json.dumps([video])},\n"categories": {json.dumps(categories)},\n"annotations": ['

    def _append(self, file: GrowingFile, tracks: FrameTracks) -> None:
        # the image first: one without annotations does no harm, an annotation without its image would
        self._images.append(json_list_items([self._image(tracks)], before=self.frames))
        super()._append(file, tracks)

    def _image(self, tracks: FrameTracks) -> dict:
        height, width = tracks.image.shape[:2]
        size = dict(height=height, width=width)
        place = dict(id=tracks.index + 1, video_id=1, frame_id=tracks.index)
        return dict(place, file_name=tracks.file or frame_file(tracks.index), time=round(tracks.time, 4), **size)

    def _format(self, tracks: FrameTracks) -> str:
        entries = []
        for number, (track_id, box, score, named) in enumerate(track_rows(tracks), self.tracks + 1):
            category = self._categories.get(named.get("name", _UNNAMED), 1)
            same = dict(image_id=tracks.index + 1, video_id=1, category_id=category, iscrowd=0)
            ids = dict(id=number, instance_id=track_id + 1, track_id=track_id + 1)
            area = round(box[2] * box[3], 3)
            entries.append(dict(ids, **same, bbox=box, area=area, score=score, **named))
        return json_list_items(entries, before=self.tracks)

    def close(self) -> None:
        """Join both parts and give the file its name.

        Raises:
            OSError: the disk is too full to join them; both stay as ``.partial-*`` then, and the message names them.
        """
        if self._file is None:
            return
        self._images.close()
        try:
            self._file.append('\n],\n"images": [')
            with open(self._images_partial, encoding="utf-8") as images:
                while piece := images.read(1 << 20):
                    self._file.append(piece)
        except OSError as error:
            self._file.close()
            self._file = None
            parts = f"its annotations are in {self._partial}, its images in {self._images_partial}"
            raise OSError(error.errno, f"{error.strerror}: {parts}", str(self.path)) from error
        super().close()
        os.unlink(self._images_partial)
