"""Contrastive loss of images and texts where many images share a class and classes are nested.

Every image is compared with the texts of hundreds of classes at once, its own among them: with few classes that says
more than the other images' texts of the batch. A text that is also true of the image (a kind of its class, or a class
that it is a kind of) is neither a positive nor a negative.

Shapes: B images with a class, T texts of T different classes, b images with captions, C captions, V classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["caption_loss", "class_loss", "related_classes"]


def related_classes(kinds: Sequence[Sequence[int]]) -> Tensor:
    """(V, V) bool, symmetric: the class itself, its kinds, and the classes that it is a kind of.

    Args:
        kinds: for each class the numbers of its kinds.
    """
    related = torch.eye(len(kinds), dtype=torch.bool)
    for number, of_kind in enumerate(kinds):
        related[number, list(of_kind)] = True
    return related | related.T


def class_loss(logits: Tensor, targets: Tensor, *, text_classes: Tensor, also_true: Tensor) -> Tensor:
    """Mean cross-entropy of images over the texts of classes.

    Args:
        logits: (B, T) scaled cosines.
        targets: (B,) class whose text is to be found, or -1 for images without one.
        text_classes: (T,) class of each text, all different, with all targets among them.
        also_true: (B, T) bool, texts that are true of the image, or may be.

    Returns:
        A scalar; 0 where no image has a target.
    """
    wanted = targets[:, None] == text_classes[None]
    column = torch.where(targets >= 0, wanted.int().argmax(dim=1), -1)
    logits = logits.masked_fill(also_true & ~wanted, float("-inf"))
    total = F.cross_entropy(logits, column, ignore_index=-1, reduction="sum")
    return total / (targets >= 0).sum().clamp_min(1)


def caption_loss(logits: Tensor) -> Tensor:
    """Symmetric cross-entropy of images and their captions.

    Args:
        logits: (b, C) scaled cosines; the caption of image i is i, the others are of other images.
    """
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits[:, : len(logits)].T, own)) / 2
