"""Tracks as a COCO-VID file: videos, images, annotations with instance ids, categories."""

import json
import os
from pathlib import Path

from effowt_d2.evaluation.result_text import json_list_items
from effowt_d2.utils.files import partial_name

from .frame_tracks import FrameTracks
from .results_writer import GrowingFile, ResultsWriter, track_rows

__all__ = ["CocoVidJson"]


class CocoVidJson(ResultsWriter):
    """COCO's layout with videos, as MMTracking and others read it; all ids count from 1.

    The one category is "object". ``frame_id`` is the frame's index in the source, ``instance_id`` and ``track_id``
    are the track's id plus 1. Annotations and images grow in a file each, which ``close`` joins.

    Args:
        path: where to.
    """

    footer = "\n]}\n"
    _images: GrowingFile  # from the first frame on

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._images_partial = partial_name(path.with_name(f"{path.stem}-images{path.suffix}"))

    def _header(self, tracks: FrameTracks) -> str:
        height, width = tracks.image.shape[:2]
        video = dict(id=1, name=self.path.name.split(".")[0], height=height, width=width)
        categories = [dict(id=1, name="object")]
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
        return dict(place, file_name=tracks.name, time=round(tracks.time, 4), **size)

    def _format(self, tracks: FrameTracks) -> str:
        entries = []
        for number, (track_id, box, score, named) in enumerate(track_rows(tracks), self.tracks + 1):
            same = dict(image_id=tracks.index + 1, video_id=1, category_id=1, iscrowd=0)
            ids = dict(id=number, instance_id=track_id + 1, track_id=track_id + 1)
            area = round(box[2] * box[3], 3)
            entries.append(dict(ids, **same, bbox=box, area=area, score=score, **named))
        return json_list_items(entries, before=self.tracks)

    def close(self) -> None:
        """Join both parts and give the file its name.

        Raises:
            OSError: there's no room to join them; both stay as ``.partial-*`` then, and the message names them.
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
