"""Sets of labelled images and clips, as plain lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from effowt_d2.formats import DatasetError

__all__ = ["ImageSet", "Labelled", "frames_of", "records_of"]


class Labelled(NamedTuple):
    """An image, or a clip.

    Attributes:
        files: one, or the frames of a clip in order.
        label: number of its class.
    """

    files: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class ImageSet:
    """Labelled images, or clips.

    Attributes:
        classes: names, by number.
        items: the images.

    Raises:
        DatasetError: there are no images, or a label has no class.
    """

    classes: tuple[str, ...]
    items: tuple[Labelled, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise DatasetError("it has no images")
        wrong = [item for item in self.items if not 0 <= item.label < len(self.classes)]
        if wrong:
            raise DatasetError(
                f"{len(wrong)} images have labels outside of 0 to {len(self.classes) - 1}, such as {wrong[0].label} of "
                f"{wrong[0].files[0]}"
            )


def frames_of(files: Sequence[str], frames: int, shifts: Sequence[float] | None = None) -> list[str]:
    """As many frames of a clip, spread over all of it; one of a shorter clip may come twice.

    Args:
        files: of the whole clip, in order.
        frames: how many; 0 for all.
        shifts: per frame, which part of its stretch of the clip it is taken from, in [0, 1); default the middle.
    """
    if not frames:
        return list(files)
    places = np.arange(frames) + (0.5 if shifts is None else np.asarray(shifts))
    return [files[min(int(place), len(files) - 1)] for place in places * len(files) / frames]


def records_of(images: ImageSet, frames: int) -> list[dict]:
    """Detectron2's records: of each image ``file_name``, ``image_id``, ``label``; of a clip those of its frames, with
    ``video_id`` and ``frame_index``.

    Args:
        frames: of each clip; 0 for a set of images.
    """
    records: list[dict] = []
    for number, item in enumerate(images.items):
        for index, file in enumerate(frames_of(item.files, frames) if frames else item.files):
            record = {"file_name": file, "image_id": len(records), "label": item.label}
            records.append({**record, "video_id": number, "frame_index": index} if frames else record)
    return records
