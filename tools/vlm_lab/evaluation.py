"""Zero-shot accuracy of an open_clip model on images in class folders."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from effowt_d2.data.image_text import PackedImages, Vocabulary

__all__ = ["class_embeddings", "image_embeddings", "zero_shot"]

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
        packed: images whose labels are ids of the vocabulary.
        size: image size in pixels.
        count: images to take, spread evenly; 0 for all.
        among: ``own`` compares the classes of the images, ``all`` the whole vocabulary less what is a kind of others.
        described: see :func:`class_embeddings`.

    Returns:
        ``{"top1": ..., "top5": ..., "images": ..., "classes": ...}``
    """
    truth = np.array([vocabulary.index[label] for label in packed.labels])
    taken = np.arange(len(packed)) if not count else np.linspace(0, len(packed) - 1, count).astype(int)
    kinds = {kind for of_kind in vocabulary.kinds for kind in of_kind}
    numbers = sorted(set(truth.tolist()))
    if among == "all":
        numbers = sorted({*numbers, *(n for n in range(len(vocabulary)) if n not in kinds)})
    texts = class_embeddings(model, tokenizer, vocabulary, numbers, described=described)
    images = image_embeddings(model, np.stack([packed.images[i] for i in taken]), size=size)
    order = (images @ texts.T).topk(min(5, len(numbers)), dim=1).indices
    right = torch.tensor(numbers)[order] == torch.from_numpy(truth[taken])[:, None]
    return {
        "top1": right[:, 0].float().mean().item(),
        "top5": right.any(dim=1).float().mean().item(),
        "images": len(taken),
        "classes": len(numbers),
    }
