"""A photograph of the documentation as a video in which the camera turns."""

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou

from effowt_d2 import VideoTracker

from . import ROOT


def overlaps_of_a_dog(config: str) -> torch.Tensor:
    """A shipped tracker follows a dog through 11 frames, in which it moves by more than its length.

    Args:
        config: file below the root of the repository.

    Returns:
        (11,) overlaps with the true boxes.
    """
    photograph = cv2.imread(str(ROOT / "docs/images/real.jpg"))[:240]
    starts = np.arange(958, 851, -10)
    dog = np.array([1018.0, 138, 1104, 204]) - np.stack([starts, 0 * starts, starts, 0 * starts], axis=1)
    frames = [photograph[:, start : start + 320] for start in starts]
    found = [frame.boxes for frame in VideoTracker(str(ROOT / config)).follow(frames, dog[:1])]
    return pairwise_iou(Boxes(torch.tensor(np.concatenate(found))), Boxes(torch.from_numpy(dog))).diagonal()
