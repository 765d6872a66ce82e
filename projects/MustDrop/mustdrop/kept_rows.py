"""Stage 3: what of each layer's cache reached the end of the prefill.

Shapes: P prompt tokens before the image, V_k vision tokens after stage k, T text tokens after the image. A row is a
position in the sequence of P + V_k + T tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["rows_that_stay", "rows_to_the_end", "select_cache"]


def rows_that_stay(kept: Tensor, *, prefix: int, vision: int, length: int) -> Tensor:
    """Rows that go on: the prefix, the kept ones of the vision tokens and the text after them, (P + V_k + T,)."""
    first, last = (torch.arange(*ends, device=kept.device) for ends in ((0, prefix), (prefix + vision, length)))
    return torch.cat([first, prefix + kept, last])


def rows_to_the_end(stages: Sequence[Tensor]) -> list[Tensor]:
    """For every stage, the rows of its input that the last stage keeps.

    Args:
        stages: rows kept by each stage, as indices into what the stage before it kept.
    """
    composed = [stages[-1]]
    for rows in reversed(stages[:-1]):
        composed.insert(0, rows[composed[0]])
    return composed


def select_cache(layers: Sequence, stages: Sequence[Tensor], pruning: Sequence[int]) -> None:
    """Keep in the cache, from the first pruning layer on, only the rows that reach the end.

    A pruning layer still caches its whole input: the drop acts on its output. Layers below the first keep all.

    Args:
        layers: of the cache, with ``keys`` and ``values`` (B, heads, length, d).
        stages: see :func:`rows_to_the_end`.
        pruning: the layer of each stage.
    """
    lowest = pruning[0]
    for last, rows in zip(pruning, rows_to_the_end(stages)):
        for layer in layers[lowest : last + 1]:
            if layer.keys.shape[2] != len(rows):
                layer.keys = layer.keys.index_select(2, rows.to(layer.keys.device))
                layer.values = layer.values.index_select(2, rows.to(layer.values.device))
        lowest = last + 1
