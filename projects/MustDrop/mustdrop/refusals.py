"""What cannot be combined with caches whose layers differ in length, refused by name before anything runs."""

from typing import Any

from torch import nn

from .compat import cache_in

__all__ = ["check_call", "check_generation"]

_MUST_BE_UNSET = {
    "assistant_model": "assisted decoding",
    "prompt_lookup_num_tokens": "assisted decoding",
    "assistant_early_exit": "assisted decoding",
    "prefill_chunk_size": "chunked prefill",
    "custom_generate": "another decoding loop",
    "inputs_embeds": "embeddings beside pixels",
}


def check_generation(model: nn.Module, kwargs: dict[str, Any], *, prompts: int) -> None:
    """Raises: ValueError, naming the argument of ``generate`` that is refused and why.

    Args:
        kwargs: of ``generate``, without the prompts.
        prompts: in the batch.
    """
    check_call(model, kwargs)
    config = kwargs.get("generation_config") or model.generation_config

    def value(name: str) -> Any:
        given = kwargs.get(name)
        return getattr(config, name, None) if given is None else given

    for name, meaning in _MUST_BE_UNSET.items():
        if value(name) is not None:
            raise ValueError(f"MustDrop does not support {meaning}: leave {name} unset")
    if value("cache_implementation") not in (None, "dynamic"):
        raise ValueError(
            f"MustDrop needs the dynamic cache, not cache_implementation {value('cache_implementation')!r}"
        )
    if value("use_cache") is False:
        raise ValueError("MustDrop decodes from the cache: leave use_cache unset")
    if value("return_dict_in_generate") and prompts > 1:
        raise ValueError(
            f"return_dict_in_generate with {prompts} prompts: MustDrop returns a dict for one prompt at a time"
        )


def check_call(model: nn.Module, kwargs: dict[str, Any]) -> None:
    """Raises: ValueError, if the model trains or the cache given is not an empty dynamic one."""
    if model.training:
        raise ValueError("MustDrop is for inference: call model.eval() first")
    cache = cache_in(kwargs)
    if cache is None:
        return
    from transformers import DynamicCache

    if not isinstance(cache, DynamicCache) or any(cache.is_sliding):
        raise ValueError(f"MustDrop needs a DynamicCache without sliding windows, not {type(cache).__name__}")
    if cache.get_seq_length():
        raise ValueError(
            f"the cache holds {cache.get_seq_length()} tokens: MustDrop begins with an empty one, also in a later turn "
            "of a conversation"
        )
