"""Both towers of an open_clip model in training: images of any size, texts no longer than they are.

open_clip's own forward takes images of one size and pads every text to the whole context.

Shapes: N images of S x S pixels, T texts of at most L tokens, C channels of the tower, D of the common embedding.
"""

from __future__ import annotations

import math

import open_clip
import torch
from open_clip.pos_embed import get_2d_sincos_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["encode_images", "encode_texts", "position_window", "start_positions"]

# texts of about one length; a GPU is faster with few large products than with little padding
_TEXTS_AT_ONCE = {"cpu": 64, "cuda": 1024}


def start_positions(visual: nn.Module) -> None:
    """Fill the position table with sines, in place: neighbours start alike, what is learnt here holds nearby."""
    table = visual.trunk.pos_embed
    side = math.isqrt(table.shape[1])
    with torch.no_grad():
        # at the size of a layer-normed token they would drown the stem's output
        table.copy_(0.25 * torch.from_numpy(get_2d_sincos_pos_embed(table.shape[2], side))[None])


def position_window(table: Tensor, *, cells: int, step: int) -> Tensor:
    """The positions of a smaller image, cut out of the table at a place that moves with the step.

    Args:
        table: (1, side * side, C).
        cells: side of the smaller image in tokens.
        step: number of the training step.

    Returns:
        (1, cells * cells, C)
    """
    side = math.isqrt(table.shape[1])
    free = side - cells + 1
    top, left = divmod(step * 7 % free**2, free)  # 7: all places in turn, far apart
    grid = table.unflatten(1, (side, side))
    return grid[:, top : top + cells, left : left + cells].flatten(1, 2)


def encode_images(visual: nn.Module, images: Tensor, *, step: int) -> Tensor:
    """Embeddings of images by a convolutional stem and a transformer (``conv_stem_vit``).

    Args:
        visual: open_clip's ``TimmModel``.
        images: (N, S, S, 3) RGB in [0, 255], S a multiple of 16 and at most the model's own size.
        step: number of the training step, for the positions.

    Returns:
        (N, D) float32 of length 1; for images of the model's own size as ``visual`` itself.
    """
    trunk = visual.trunk
    mean = images.new_tensor(open_clip.OPENAI_DATASET_MEAN, dtype=torch.float32) * 255
    std = images.new_tensor(open_clip.OPENAI_DATASET_STD, dtype=torch.float32) * 255
    pixels = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    x = trunk.patch_embed.backbone(pixels)
    cells = x.shape[-1]
    x = x.flatten(2).transpose(1, 2) + position_window(trunk.pos_embed, cells=cells, step=step)
    x = trunk.blocks(trunk.norm_pre(x))
    x = trunk.fc_norm(trunk.norm(x).mean(dim=1))
    return F.normalize(visual.head(x).float(), dim=-1)


def encode_texts(model: nn.Module, tokens: Tensor) -> Tensor:
    """Embeddings of texts by a plain CLIP text tower, without the columns that are padding.

    Args:
        model: ``open_clip.CLIP``; the end of text has the largest token id, padding is 0.
        tokens: (T, context) token ids, on the CPU.

    Returns:
        (T, D) float32 of length 1, as ``model.encode_text(tokens, normalize=True)``.
    """
    lengths = (tokens != 0).sum(dim=1)
    order, device = lengths.argsort(), model.text_projection.device
    parts = order.split(_TEXTS_AT_ONCE.get(device.type, 1024))
    found = [_encode_part(model, tokens[part, : int(lengths[part[-1]])].to(device)) for part in parts]
    return F.normalize(torch.cat(found)[order.argsort().to(device)].float(), dim=-1)


def _encode_part(model: nn.Module, tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    return x @ model.text_projection
