"""Training samples: crops of some frames of a sequence, with the target's box in each."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from effowt_d2.data.images import read_record_image
from effowt_d2.data.loaders import SeededDataset
from effowt_d2.data.views import seeded, to_tensor
from effowt_d2.formats import DatasetError
from sot.crops import ContextCrop, channel_means, take_crop
from sot.maps import clip_boxes, is_valid, map_boxes

from .augmentation import CropAugmentation
from .jitter import CropJitter
from .sampling import Drawn
from .sequence import TargetSequence

__all__ = ["ClipDataset", "ClipMapper"]

logger = logging.getLogger(__name__)

_REPLACEMENTS = 50


class ClipMapper:
    """Makes a sample of a sequence.

    Args:
        sampler: draws the frames.
        template, search: crop policies.
        jitter: of the search crops; references are centred.
        augmentation: of all crops; None for none.
    """

    def __init__(
        self,
        *,
        sampler: Callable[[TargetSequence], Drawn],
        template: ContextCrop,
        search: ContextCrop,
        jitter: CropJitter,
        augmentation: CropAugmentation | None = None,
    ):
        self.sampler = sampler
        self.template = template
        self.search = search
        self.jitter = jitter
        self.augmentation = augmentation

    def __call__(self, sequence: TargetSequence) -> dict | None:
        """
        Returns:
            ``file_name`` and ``image_id`` of the first frame; ``templates`` (R, 3, Sz, Sz) and ``searches`` (T, 3, Sx, Sx)
            float32 RGB in 0..1; ``template_boxes`` (R, 4) and ``search_boxes`` (T, 4) float64, the target in pixels of the
            crops, cut to them. None where too little of the target came into a crop.

        Raises:
            ImageReadError: an image cannot be read.
            DatasetError: no frames can be drawn.
        """
        drawn = self.sampler(sequence)
        read = {index: _frame(sequence, index) for index in {*drawn.references, *drawn.searches}}
        if not all(is_valid(box) for _, box in read.values()):
            return None
        crops, boxes = [], []
        for place, index in enumerate([*drawn.references, *drawn.searches]):
            image, box = read[index]
            policy = self.template if place < len(drawn.references) else self.search
            requested, serves = (policy.maps(box), True) if policy is self.template else self.jitter(policy, box)
            if not serves:
                return None
            crop = take_crop(image, requested, policy.size, channel_means(image))
            crops.append(crop.pixels / 255)
            boxes.append(clip_boxes(map_boxes(crop.map, box), (policy.size, policy.size)))
        if self.augmentation is not None:
            crops, boxes = self.augmentation(crops, boxes)
        count = len(drawn.references)
        return {
            "file_name": sequence.files[drawn.references[0]],
            "image_id": sequence.name,
            "templates": torch.stack(crops[:count]),
            "template_boxes": torch.stack(boxes[:count]),
            "searches": torch.stack(crops[count:]),
            "search_boxes": torch.stack(boxes[count:]),
        }


def _frame(sequence: TargetSequence, index: int) -> tuple[Tensor, Tensor]:
    """The image (3, H, W), and the box (4,) of the target cut to it."""
    image = to_tensor(read_record_image({"file_name": sequence.files[index]}, "RGB"))
    return image, clip_boxes(torch.from_numpy(sequence.boxes[index].copy()), image.shape[-2:])


class ClipDataset(SeededDataset):
    """Samples of sequences: of records with a ``sequence`` and the ``file_name`` of its first frame.

    A sequence that gives no sample is replaced by another one, at random.
    """

    def __getitem__(self, place: tuple[int, int]) -> dict:
        position, index = place
        with seeded((self.seed, position)):
            for _ in range(_REPLACEMENTS):
                with self.watch.at(index):
                    sample = self._sample(self.records[index]["sequence"])
                if sample is not None:
                    return sample
                index = np.random.randint(len(self.records))
        raise DatasetError(
            f"{_REPLACEMENTS} sequences in a row gave no training sample, the last is '{self.records[index]['sequence'].name}'"
        )

    def _sample(self, sequence: TargetSequence) -> dict | None:
        try:
            return self.mapper(sequence)
        except DatasetError as error:
            logger.debug("another sequence is taken: %s", error)
            return None
