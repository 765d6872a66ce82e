"""Zero-shot recognition of ShapesOW categories by an open_clip model."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import torch
from torch.nn import functional as F

from effowt_d2.data.shapes_ow.vocabulary import TEMPLATES, all_categories, prompts


@torch.no_grad()
def category_embeddings(model: torch.nn.Module, tokenizer, *, templates: Sequence[str] = TEMPLATES) -> torch.Tensor:
    """Text embedding of every category, averaged over the templates.

    Args:
        model: an open_clip model.
        tokenizer: its tokenizer.
        templates: texts with one ``{}`` each.

    Returns:
        (number of categories, embedding size), L2-normalised, in order of category id.
    """
    total = 0
    for template in templates:
        tokens = tokenizer(list(prompts(template).values()))
        total = total + torch.cat([F.normalize(model.encode_text(part), dim=-1) for part in tokens.split(512)])
    return F.normalize(total, dim=-1)


@torch.no_grad()
def zero_shot_accuracy(model: torch.nn.Module, tokenizer, images: torch.Tensor, category_ids: Sequence[int]) -> dict:
    """Share of images whose nearest category text has the right words.

    Args:
        model: an open_clip model in eval mode.
        tokenizer: its tokenizer.
        images: (N, H, W, 3) uint8 RGB of single objects.
        category_ids: N true ids.

    Returns:
        ``{"category", "shape", "texture", "colour"}`` to a fraction in 0..1.
    """
    texts = category_embeddings(model, tokenizer)
    found = torch.cat(
        [
            (F.normalize(model.encode_image(normalise(part)), dim=-1) @ texts.T).argmax(dim=1)
            for part in images.split(256)
        ]
    )
    categories = all_categories()
    pairs = [(categories[int(a)], categories[b - 1]) for a, b in zip(found, category_ids, strict=True)]
    hits = {"category": [a.id == b.id for a, b in pairs]}
    for word in ("shape", "texture", "colour"):
        hits[word] = [getattr(a, word) == getattr(b, word) for a, b in pairs]
    return {word: sum(right) / len(right) for word, right in hits.items()}


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W) with CLIP's mean and standard deviation."""
    mean = images.new_tensor(open_clip.OPENAI_DATASET_MEAN, dtype=torch.float32)
    std = images.new_tensor(open_clip.OPENAI_DATASET_STD, dtype=torch.float32)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)
