"""Training samples of AQATrack and EVPTrack: frames that are changed as a whole, then square crops around moved boxes.

    frames of a clip ─ grey, flip (all alike) ─▶ box of each search frame moved and scaled ─▶ crop ─ brightness, flip (each its own) ─▶

Shapes: N frames of a clip, the template first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from effowt_d2.data.images import read_record_image
from effowt_d2.data.views import to_tensor
from effowt_d2.utils.checks import check_number
from sot.maps import map_boxes
from sot.square_crop import SquareCrop

from .sampling import Drawn
from .sequence import TargetSequence

__all__ = ["ClipRolls", "FrameClipMapper", "draw_rolls", "moved_box"]

_GREY, _FLIP, _BRIGHTNESS = 0.05, 0.5, 0.2


@dataclass(frozen=True)
class ClipRolls:
    """What chance decides about a clip.

    Attributes:
        grey, flip: of all frames.
        noise: (N, 4) two normal numbers and two uniform ones from -1 to 1, for the box of each frame.
        brightness: (N,) factors of the crops.
        flips: (N,) bool, of the crops.
    """

    grey: bool
    flip: bool
    noise: np.ndarray
    brightness: np.ndarray
    flips: np.ndarray


def draw_rolls(count: int, augment: bool) -> ClipRolls:
    """For a clip of so many frames; without augmentation its boxes are moved all the same."""
    noise = np.concatenate([np.random.standard_normal((count, 2)), np.random.uniform(-1, 1, (count, 2))], axis=1)
    if not augment:
        return ClipRolls(False, False, noise, np.ones(count), np.zeros(count, dtype=bool))
    grey, flip = np.random.random() < _GREY, np.random.random() < _FLIP
    brightness = np.random.uniform(1 - _BRIGHTNESS, 1 + _BRIGHTNESS, count)
    return ClipRolls(grey, flip, noise, brightness, np.random.random(count) < 0.5)


def moved_box(box: Tensor, noise: np.ndarray, *, scale: float, shift: float) -> Tensor:
    """A box (4,) whose sides are multiplied by exp(scale * normal) and whose centre is moved by shift * uniform mean sides."""
    drawn = torch.as_tensor(noise, dtype=torch.float64)
    sides = (box[2:] - box[:2]) * torch.exp(scale * drawn[:2])
    centre = (box[:2] + box[2:]) / 2 + sides.prod().sqrt() * shift * drawn[2:]
    return torch.cat([centre - sides / 2, centre + sides / 2])


class FrameClipMapper:
    """Makes a sample of a sequence.

    Args:
        sampler: draws a template and search frames.
        template, search: crop policies, alike but in size and factor.
        scale: standard deviation of the logarithm of the sides of the boxes that search crops are cut around.
        shift: largest shift of them, in sides of the target.
        augment: grey, flips and brightness.
    """

    def __init__(
        self,
        *,
        sampler: Callable[[TargetSequence], Drawn],
        template: SquareCrop,
        search: SquareCrop,
        scale: float = 0.5,
        shift: float = 1.75,
        augment: bool = True,
    ):
        self.sampler = sampler
        self.template = template
        self.search = search
        self.scale = check_number("scale", scale)
        self.shift = check_number("shift", shift)
        self.augment = augment

    def __call__(self, sequence: TargetSequence) -> dict | None:
        """
        Returns:
            As :class:`sot.data.training.ClipMapper`, with boxes that may reach beyond the crops. None where a box has no area
            or a crop shows nothing of its frame.

        Raises:
            ImageReadError: an image cannot be read.
            DatasetError: no frames can be drawn.
        """
        drawn = self.sampler(sequence)
        numbers = [*drawn.references, *drawn.searches]
        read = {n: read_record_image({"file_name": sequence.files[n]}, "RGB") for n in set(numbers)}
        boxes = torch.from_numpy(sequence.boxes[numbers])
        rolls = draw_rolls(len(numbers), self.augment)
        made = self.process([read[n] for n in numbers], boxes, rolls, len(drawn.references))
        if made is None:
            return None
        return {"file_name": sequence.files[numbers[0]], "image_id": sequence.name, **made}

    def process(
        self, frames: list[np.ndarray], boxes: Tensor, rolls: ClipRolls, references: int = 1
    ) -> dict[str, Tensor] | None:
        """The tensors of a sample, or None.

        Args:
            frames: N of (H, W, 3) uint8 RGB.
            boxes: (N, 4) float64 in pixels.
            rolls: of N frames.
            references: how many of the frames are templates, the first ones.
        """
        crops, inside = [], []
        for place, (frame, box) in enumerate(zip(frames, boxes)):
            is_template = place < references
            policy = self.template if is_template else self.search
            image, box = self._frame(frame, box, rolls)
            noise = rolls.noise[place]
            around = box if is_template else moved_box(box, noise, scale=self.scale, shift=self.shift)
            if not (around.isfinite().all() and policy.region(around).side and policy.shows(image, around)):
                return None
            pixels = (policy(image, around).pixels / 255 * rolls.brightness[place]).clamp(0, 1).float()
            box = map_boxes(policy.label_maps(around), box)
            if rolls.flips[place]:
                pixels, box = pixels.flip(-1), _flipped(box, policy.size)
            crops.append(pixels)
            inside.append(box)
        return {
            "templates": torch.stack(crops[:references]),
            "template_boxes": torch.stack(inside[:references]),
            "searches": torch.stack(crops[references:]),
            "search_boxes": torch.stack(inside[references:]),
        }

    def _frame(self, frame: np.ndarray, box: Tensor, rolls: ClipRolls) -> tuple[Tensor, Tensor]:
        """The frame as (3, H, W), and the box, after what happens to all frames of the clip."""
        if rolls.grey:
            frame = np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        if rolls.flip:
            # the release counts from the last pixel's middle, which puts the box one pixel off
            width = frame.shape[1] - 1 if self.search.released else frame.shape[1]
            frame, box = frame[:, ::-1], _flipped(box, width)
        return to_tensor(frame), box


def _flipped(box: Tensor, width: float) -> Tensor:
    return torch.stack([width - box[2], box[1], width - box[0], box[3]])
