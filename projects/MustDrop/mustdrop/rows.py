"""A batch of prompts as single ones, and their outputs as a batch again.

Shapes: B prompts of n positions, padded.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Row", "join_rows", "only_row", "split_rows"]


class Row(NamedTuple):
    """Attributes:
    ids: (n,) without padding.
    padded: (1, n) as given.
    pixels, image_sizes: of its images.
    copies: rows of the batch that hold this prompt.
    """

    ids: Tensor
    padded: Tensor
    pixels: Tensor
    image_sizes: Tensor | None
    copies: int = 1


def split_rows(ids: Tensor, pixels: Tensor, image_sizes: Tensor | None, mask: Tensor | None) -> list[Row]:
    """The prompts of a batch.

    Args:
        ids: (B, n).
        pixels: images in the order of the prompts, as many for each.
        image_sizes: (images, 2) or None.
        mask: (B, n), 0 at padding, or None.

    Raises:
        ValueError: if the images cannot be divided among the prompts.
    """
    batch = len(ids)
    if not len(pixels) or len(pixels) % batch:
        raise ValueError(f"{len(pixels)} images for {batch} prompts: MustDrop takes as many for each, at least one")
    count = len(pixels) // batch
    if image_sizes is not None and count > 1:
        raise ValueError(f"{count} images in a prompt: MustDrop takes one image in a prompt of LLaVA-NeXT")
    sizes = [None] * batch if image_sizes is None else image_sizes.split(count)
    return [
        Row(row if mask is None else row[mask[i] != 0], row[None], images, size)
        for i, (row, images, size) in enumerate(zip(ids, pixels.split(count), sizes))
    ]


def only_row(ids: Tensor, pixels: Tensor, image_sizes: Tensor | None, mask: Tensor | None) -> Row:
    """The prompt that all rows of a batch hold.

    Raises:
        ValueError: if they differ, or are padded: rows that keep other tokens have no common sequence.
    """
    rows = split_rows(ids, pixels, image_sizes, mask)
    first = rows[0]
    if any(not torch.equal(row.padded, first.padded) or not torch.equal(row.pixels, first.pixels) for row in rows):
        raise ValueError(f"{len(rows)} different prompts in one forward: pass them one at a time, or call generate")
    if len(first.ids) != first.padded.shape[1]:
        raise ValueError("a padded prompt in forward: remove the padding, or call generate")
    return first._replace(copies=len(rows))


def join_rows(outputs: list[Any], config: Any) -> Any:
    """(B * sequences, n) tokens of all prompts, padded on the right, or the only prompt's output as it is."""
    if len(outputs) == 1:
        return outputs[0]
    longest = max(tokens.shape[1] for tokens in outputs)
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    # rows end at different lengths only if there is an end token
    fill = next((token for token in (config.pad_token_id, end) if token is not None), 0)
    return torch.cat([F.pad(tokens, (0, longest - tokens.shape[1]), value=fill) for tokens in outputs])
