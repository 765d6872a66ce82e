"""The attention of the text to the image, beside whatever kernel the language model uses.

Shapes: B rows, h heads, g key-value heads, n positions, d channels of a head, P prompt tokens before the image, V vision
tokens, T text tokens after them.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .compat import require_transformers

__all__ = ["observed", "text_to_vision"]

Observer = Callable[[Tensor, Tensor, float], None]
_OBSERVERS: "WeakKeyDictionary[nn.Module, Observer]" = WeakKeyDictionary()


def text_to_vision(query: Tensor, key: Tensor, scaling: float, *, prefix: int, vision: int) -> Tensor:
    """Causal softmax attention of the text rows to the vision columns, mean over heads.

    Args:
        query: (1, h, n, d), rotated.
        key: (1, g, n, d), rotated.
        scaling: of the scores.
        prefix, vision: P and V.

    Returns:
        (T, V) float32.
    """
    rows, length = query[0, :, prefix + vision :], key.shape[2]
    columns = key[0].repeat_interleave(len(query[0]) // len(key[0]), 0)
    scores = (rows @ columns.transpose(1, 2)).float() * scaling
    later = torch.ones(rows.shape[1], length, dtype=torch.bool, device=rows.device).triu(prefix + vision + 1)
    weights = scores.masked_fill(later, -torch.inf).softmax(-1).mean(0)
    return weights[:, prefix : prefix + vision]


def observed(model: nn.Module, observers: dict[nn.Module, Observer]) -> AbstractContextManager:
    """Within the context, the observer of an attention module gets its rotated queries, keys and scaling.

    The model's attention implementation is replaced by one that calls the observer and then the original.

    Args:
        model: language model of transformers.
        observers: by attention module.
    """
    config = model.config
    original = config._attn_implementation
    model.set_attn_implementation(_register(original))
    _OBSERVERS.update(observers)
    stack = ExitStack()
    # set, not requested: the original name needs no check, and some names cannot be requested
    stack.callback(setattr, config, "_attn_implementation_internal", original)
    for module in observers:
        stack.callback(_OBSERVERS.pop, module, None)
    return stack


def _register(original: str) -> str:
    require_transformers()
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = f"mustdrop_{original}"
    if name not in ALL_ATTENTION_FUNCTIONS.valid_keys():
        function = None if original == "eager" else ALL_ATTENTION_FUNCTIONS[original]
        AttentionInterface.register(name, partial(_attend, function))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[original])
    return name


def _attend(original: Callable | None, module: nn.Module, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
    observer = _OBSERVERS.get(module)
    if observer is not None:
        observer(query, key, kwargs.get("scaling") or query.shape[-1] ** -0.5)
    if original is None:
        # each model file has its own eager attention
        original = sys.modules[type(module).__module__].eager_attention_forward
    return original(module, query, key, *args, **kwargs)
