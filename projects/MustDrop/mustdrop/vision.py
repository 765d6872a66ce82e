"""Stage 1: the vision tower on merged patches, and the key set from its class token.

Shapes: B images (or tiles), N patches, V tokens after merging, C channels, h heads.
"""

from contextlib import ExitStack
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from .compat import hidden_in, with_hidden
from .merging import Merged, merge_windows

__all__ = ["VisionStage", "class_attention", "key_tokens"]


def class_attention(attention: nn.Module, hidden: Tensor) -> Tensor:
    """Attention of the class token to the patches, mean over heads: one row, whatever kernel the layer uses.

    Args:
        attention: CLIP's self-attention.
        hidden: (B, 1 + V, C) its normalised input, the class token first.

    Returns:
        (B, V) softmax values in float32.
    """
    batch, length, _ = hidden.shape
    heads = (batch, -1, attention.num_heads, attention.head_dim)
    query = attention.q_proj(hidden[:, :1]).view(heads).transpose(1, 2)
    key = attention.k_proj(hidden).view(heads).transpose(1, 2)
    scores = (query @ key.transpose(2, 3)).float() * attention.head_dim**-0.5
    return scores.softmax(-1).mean(1)[:, 0, 1:]


def key_tokens(attention: Tensor, ratio: float) -> Tensor:
    """Indices of the ``ceil(ratio * V)`` tokens that receive most, by falling value. (B, V) -> (B, K)."""
    return attention.topk(ceil(ratio * attention.shape[1]), dim=1).indices


class VisionStage:
    """Runs the tower with the merge after its first layer, and looks at its last one.

    Attributes:
        merged: of the last run, or None if nothing is merged.
        attention: (B, V) class attention of the last run.
    """

    def __init__(self, tower: nn.Module, *, merge_threshold: float | None, merge_window: int = 3):
        layers = [module for name, module in tower.named_modules() if name.endswith("encoder.layers")]
        if not layers or not any(hasattr(module, "class_embedding") for module in tower.modules()):
            raise TypeError(
                f"the key set needs a vision tower with a class token, such as CLIP's, not {type(tower).__name__}"
            )
        self.layers = layers[0]
        self.merge_threshold = merge_threshold
        self.merge_window = merge_window
        self.merged: Merged | None = None
        self.attention: Tensor | None = None

    def attached(self) -> ExitStack:
        """The hooks, as a context."""
        self.merged = self.attention = None
        stack = ExitStack()
        if self.merge_threshold is not None:
            stack.callback(self.layers[0].register_forward_hook(self._merge).remove)
        last = self.layers[-1].self_attn
        stack.callback(last.register_forward_pre_hook(self._look, with_kwargs=True).remove)
        return stack

    def _merge(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        hidden = hidden_in(output)
        side = round((hidden.shape[1] - 1) ** 0.5)
        self.merged = merge_windows(
            hidden[:, 1:], (side, side), window=self.merge_window, threshold=self.merge_threshold
        )
        return with_hidden(output, torch.cat([hidden[:, :1], self.merged.tokens], 1))

    def _look(self, attention: nn.Module, args: tuple, kwargs: dict) -> None:
        self.attention = class_attention(attention, args[0] if args else kwargs["hidden_states"])
