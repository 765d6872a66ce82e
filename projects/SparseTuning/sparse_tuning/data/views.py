"""Squares of images: random ones for training, the whole or the middle for evaluation.

Shapes: ... is nothing, or T for the frames of a clip, which are cut alike; S the side of the square.
"""

from collections.abc import Sequence

from torchvision.transforms import InterpolationMode, v2

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice, check_count

__all__ = ["TEST_CROPS", "TRAIN_CROPS", "test_view", "training_view"]

TRAIN_CROPS = ("random", "squash")
TEST_CROPS = ("center", "squash")
_BICUBIC = InterpolationMode.BICUBIC


def training_view(
    size: int, *, crop: str = "random", scale: Sequence[float] = (0.08, 1.0), flip: str = "horizontal"
) -> v2.Transform:
    """Draws from torch's generator; (..., 3, H, W) uint8 to (..., 3, S, S) uint8.

    Args:
        size: S.
        crop: of ``TRAIN_CROPS``: a random part of the image, or all of it, scaled to the square.
        scale: fractions of the area that a random part has.
        flip: none | horizontal | vertical, for half of the images.

    Raises:
        ValueError: an unknown crop, or fractions that do not rise.
    """
    check_choice("train_crop", crop, TRAIN_CROPS)
    if scale[0] > scale[1]:
        raise bad_argument("scale", f"must rise, got {list(scale)}")
    side = (check_count("size", size),) * 2
    cut = v2.RandomResizedCrop(side, scale=tuple(scale), interpolation=_BICUBIC, antialias=True)
    steps = [cut if crop == "random" else v2.Resize(side, interpolation=_BICUBIC, antialias=True)]
    flips = {"none": [], "horizontal": [v2.RandomHorizontalFlip()], "vertical": [v2.RandomVerticalFlip()]}
    return v2.Compose([*steps, *flips[flip]])


def test_view(size: int, *, crop: str = "center", fraction: float = 0.875) -> v2.Transform:
    """(..., 3, H, W) uint8 to (..., 3, S, S) uint8.

    Args:
        size: S.
        crop: of ``TEST_CROPS``: the middle of the image, or all of it, scaled to the square.
        fraction: of the shorter side that the middle covers.

    Raises:
        ValueError: an unknown crop.
    """
    check_choice("test_crop", crop, TEST_CROPS)
    if crop == "squash":
        return v2.Resize((size, size), interpolation=_BICUBIC, antialias=True)
    shorter = v2.Resize(round(size / fraction), interpolation=_BICUBIC, antialias=True)
    return v2.Compose([shorter, v2.CenterCrop(size)])


test_view.__test__ = False  # type: ignore[attr-defined]  # pytest takes it for a test where it is imported
