"""Mixup and CutMix of training batches.

Shapes: B images or clips of T frames, K classes, S the side in pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from effowt_d2.utils.checks import check_count, check_number

__all__ = ["Mixing"]


class Mixing(nn.Module):
    """Mixes every batch with itself, by one of the two in turn of chance; draws from torch's generator.

    Args:
        classes: K.
        mixup, cutmix: parameters of the Beta distributions that the parts are drawn from; 0 for neither.
    """

    def __init__(self, classes: int, *, mixup: float = 0.0, cutmix: float = 0.0):
        super().__init__()
        self.classes = check_count("num_classes", classes, 2)
        kinds = ((v2.MixUp, check_number("mixup", mixup)), (v2.CutMix, check_number("cutmix", cutmix)))
        with torch.device("cpu"):  # their distributions hold numbers, also in a model without values
            used = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha]
        self.mix = v2.RandomChoice(used) if used else None

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) or (B, T, 3, S, S) float, and (B,) labels, to images alike and soft labels (B, K)."""
        if self.mix is None:
            return images, F.one_hot(labels, self.classes).float()
        # torchvision mixes whatever has a batch in front of channels and sides; the frames of a clip are mixed alike
        mixed, targets = self.mix(images.flatten(1, -3), labels)
        return mixed.view_as(images), targets
