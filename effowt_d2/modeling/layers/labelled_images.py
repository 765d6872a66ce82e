"""A batch of training images with a flag for each whether all objects are labelled."""

from collections.abc import Sequence

from detectron2.structures import ImageList

__all__ = ["LabelledImages", "complete_of"]


class LabelledImages(ImageList):
    """Detectron2's ImageList with a word on the labels.

    Args:
        images: the batch.
        complete: for each image, whether every object in it is labelled. Where one is not, what no label covers is
            not known to be background.

    Attributes:
        complete: as given.
    """

    def __init__(self, images: ImageList, complete: Sequence[bool]):
        super().__init__(images.tensor, images.image_sizes)
        self.complete = list(complete)


def complete_of(images: ImageList) -> list[bool]:
    """``complete`` of each image of a batch; true where the batch has no such field."""
    return getattr(images, "complete", [True] * len(images.image_sizes))
