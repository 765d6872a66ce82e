"""Zero-shot accuracy of an open_clip model on images in class folders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effowt_d2.data.image_text import PackedImages, Vocabulary

__all__ = ["class_embeddings", "compared_classes", "image_embeddings", "zero_shot"]

PROMPTS = ("a photo of a {}", "a photo of the {}", "a close-up photo of a {}", "{}")


@torch.no_grad()
def class_embeddings(
    model: nn.Module, tokenizer, vocabulary: Vocabulary, numbers: list[int], *, described: bool = False
) -> Tensor:
    """The mean over the prompts and names of each class, (number of classes, D) of length 1.

    Args:
        model, tokenizer: of open_clip.
        vocabulary: has the names.
        numbers: of the classes.
        described: names are followed by the class's kinds and description.
    """
    rows = []
    for number in numbers:
        row = vocabulary[number]
        texts = [prompt.format(name) for name in row.names for prompt in PROMPTS]
        if described:
            kinds = [vocabulary[k].names[0] for k in vocabulary.kinds[number]]
            texts += [f"{name}, a {kind}" for name in row.names for kind in kinds]
            texts += [f"{name}, {row.description}" for name in row.names if row.description]
        tokens = tokenizer(texts).to(model.logit_scale.device)
        rows.append(F.normalize(model.encode_text(tokens, normalize=True).mean(dim=0), dim=0))
    return torch.stack(rows).cpu()


@torch.no_grad()
def image_embeddings(model: nn.Module, images: np.ndarray, *, size: int, batch: int = 128) -> Tensor:
    """(N, D) of length 1 for (N, S, S, 3) uint8 images, resized to ``size``."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    found = []
    for start in range(0, len(images), batch):
        pixels = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != size:
            pixels = F.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)
        pixels = ((pixels - mean) / std).to(model.logit_scale.device)
        found.append(model.encode_image(pixels, normalize=True).cpu())
    return torch.cat(found)


def compared_classes(vocabulary: Vocabulary, labels: Sequence[str], *, among: str = "own") -> list[int]:
    """Numbers of the classes that images are compared with.

    Args:
        vocabulary: labels that are none of its ids are passed over.
        labels: of the images.
        among: see :func:`zero_shot`.

    Raises:
        ValueError: there are fewer than two.
    """
    numbers = {vocabulary.index[label] for label in labels if label in vocabulary.index}
    if among == "all":
        kinds = {kind for of_kind in vocabulary.kinds for kind in of_kind}
        numbers |= set(range(len(vocabulary))) - kinds
    if len(numbers) < 2:
        names = [vocabulary[number].names[0] for number in numbers]
        raise ValueError(f"zero-shot accuracy needs images of two classes of the vocabulary, got {names}")
    return sorted(numbers)


def zero_shot(
    model: nn.Module,
    tokenizer,
    vocabulary: Vocabulary,
    packed: PackedImages,
    *,
    size: int,
    count: int = 0,
    among: str = "own",
    described: bool = False,
) -> dict[str, float]:
    """Fraction of images whose class is the first, and among the first five, of the classes compared with.

    Args:
        model: in eval mode.
        packed: images; those whose labels are no ids of the vocabulary are passed over.
        size: image size in pixels.
        count: images to take at most, spread evenly; 0 for all.
        among: ``own`` compares the classes of the images, ``all`` the whole vocabulary less what is a kind of others.
        described: see :func:`class_embeddings`.

    Returns:
        ``{"top1": ..., "top5": ..., "images": ..., "classes": ...}``

    Raises:
        ValueError: there are fewer than two classes to compare.
    """
    numbers = compared_classes(vocabulary, packed.labels, among=among)
    taken = np.array([i for i, label in enumerate(packed.labels) if label in vocabulary.index])
    if count:
        taken = taken[np.linspace(0, len(taken) - 1, min(count, len(taken))).astype(int)]
    truth = torch.tensor([vocabulary.index[packed.labels[i]] for i in taken])
    texts = class_embeddings(model, tokenizer, vocabulary, numbers, described=described)
    images = image_embeddings(model, np.stack([packed.images[i] for i in taken]), size=size)
    order = (images @ texts.T).topk(min(5, len(numbers)), dim=1).indices
    right = torch.tensor(numbers)[order] == truth[:, None]
    return {
        "top1": right[:, 0].float().mean().item(),
        "top5": right.any(dim=1).float().mean().item(),
        "images": len(taken),
        "classes": len(numbers),
    }
