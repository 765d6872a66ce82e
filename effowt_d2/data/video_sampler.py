"""Distributes whole videos over processes and cuts their frames into batches."""

from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from effowt_d2.utils.checks import check_count

__all__ = ["VideoBatches", "assign_videos"]


def assign_videos(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Give every video to one process, so that all have about as many frames.

    Args:
        lengths: frames of each video.
        ranks: number of processes.

    Returns:
        Per process the indices of its videos, ascending; empty where there are fewer videos than processes.
    """
    videos: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    # the longest first, each to the process that has least; ties by number, so all processes agree
    for video in sorted(range(len(lengths)), key=lambda video: (-lengths[video], video)):
        rank = min(range(ranks), key=lambda rank: (loads[rank], rank))
        videos[rank].append(video)
        loads[rank] += lengths[video]
    return [sorted(part) for part in videos]


class VideoBatches(Sampler):
    """Batches of consecutive frames, never of two videos, of the videos of one process.

    Args:
        videos: per video the indices of its frames, in order.
        frames_per_batch: frames in a batch; the last of a video may be shorter.
        rank, world_size: this process, and the number of processes.
    """

    def __init__(self, videos: Sequence[Sequence[int]], *, frames_per_batch: int, rank: int = 0, world_size: int = 1):
        check_count("frames_per_batch", frames_per_batch)
        mine = assign_videos([len(video) for video in videos], world_size)[rank]
        self._batches = [
            list(videos[video][first : first + frames_per_batch])
            for video in mine
            for first in range(0, len(videos[video]), frames_per_batch)
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)
