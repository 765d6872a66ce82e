"""Reference views from another frame of the same video, so that embeddings learn how objects change along it."""

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from effowt_d2.utils.checks import check_count

__all__ = ["FramePairs", "video_key"]


def video_key(record: dict) -> Hashable | None:
    """What the frames of a video have in common, and others of the training datasets have not; None for still images."""
    if "video_id" not in record:
        return None
    # two datasets may number their videos alike
    return Path(record["file_name"]).parent, record["video_id"]


class FramePairs(Dataset):
    """Records, those of video frames with another frame of the video as ``pair``, drawn from ``numpy.random``.

    Args:
        records: dicts with ``file_name``; frames have ``video_id`` and ``frame_index``, and stand in any order.
        gap: most frames of the list between the two; a still image and a video's only frame have themselves.
    """

    def __init__(self, records: Sequence[dict], *, gap: int):
        self.records = records
        self.gap = check_count("gap", gap)
        videos: dict[Hashable, list[tuple[int, int]]] = {}
        for place in range(len(records)):
            record = records[place]
            key = video_key(record)
            if key is not None:
                videos.setdefault(key, []).append((record["frame_index"], place))
        self._videos = [np.array([place for _, place in sorted(frames)]) for frames in videos.values()]
        # per record its video, and its place in it; -1: none
        self._where = np.full((len(records), 2), -1)
        for number, places in enumerate(self._videos):
            self._where[places, 0], self._where[places, 1] = number, np.arange(len(places))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        record, (video, place) = self.records[index], self._where[index]
        if video < 0:
            return record
        places = self._videos[video]
        other = np.random.randint(max(place - self.gap, 0), min(place + self.gap + 1, len(places)))
        return {**record, "pair": self.records[places[other]]}
