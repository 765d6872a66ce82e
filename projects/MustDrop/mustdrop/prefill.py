"""Stages 2 and 3 on a stock language model: hooks that shorten the sequence between layers, and then the cache.

Shapes: B rows that hold one prompt (beams, samples), n positions of P + V + T tokens; see :mod:`.attention`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from .attention import observed, text_to_vision
from .compat import cache_in, hidden_in, with_hidden
from .kept_rows import rows_that_stay, select_cache

__all__ = ["POSITIONS", "Prefill", "PrefillDrop"]

POSITIONS = ("original", "renumber")
Choose = Callable[[Tensor, Tensor], Tensor]


@dataclass(kw_only=True)
class Prefill:
    """One prompt on its way through the language model.

    Attributes:
        prefix, vision: tokens before the image, and of it when it enters.
        length: of the whole prompt.
        keys: key set among the vision tokens that are left.
        counts: vision tokens after each stage, the first before any.
        stages: rows kept by each stage, see :func:`.kept_rows.rows_to_the_end`.
        attention: (T, V) text-to-vision attention of each stage.
        cache_lengths: of every layer after the cache policy; empty without a cache.
        cache_bytes: of all keys and values then.
    """

    prefix: int
    vision: int
    length: int
    keys: Tensor
    counts: list[int] = field(default_factory=list)
    stages: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    cache_lengths: list[int] = field(default_factory=list)
    cache_bytes: int = 0

    def __post_init__(self) -> None:
        self.counts.append(self.vision)
        self.rows = torch.arange(self.length, device=self.keys.device)

    def look(self, query: Tensor, key: Tensor, scaling: float) -> None:
        self.attention.append(text_to_vision(query[:1], key[:1], scaling, prefix=self.prefix, vision=self.counts[-1]))

    def drop(self, choose: Choose) -> Tensor:
        """Rows of the current sequence that go on, from the attention looked at last."""
        vision = self.counts[-1]
        kept = choose(self.attention[-1], self.keys)
        rows = rows_that_stay(kept, prefix=self.prefix, vision=vision, length=len(self.rows))
        self.keys = torch.nonzero(torch.isin(kept, self.keys))[:, 0]
        self.counts.append(len(kept))
        self.stages.append(rows)
        self.rows = self.rows[rows]
        return rows


class PrefillDrop:
    """Hooks on a language model. One prefill is announced by :meth:`expect`; every other forward runs as it is, but a
    decoding step on a cache that was shortened here.

    Args:
        model: decoder of transformers, with ``layers`` and ``rotary_emb``.
        layers: after which tokens are dropped.
        choose: (attention (T, V), keys (K,)) -> indices that stay, rising.
        positions: ``original`` keeps every token's position; ``renumber`` counts again after each drop, as the release.
    """

    def __init__(self, model: nn.Module, *, layers: Sequence[int], choose: Choose, positions: str = "original"):
        if positions not in POSITIONS:
            raise ValueError(f"positions must be one of {list(POSITIONS)}, not {positions!r}")
        self.model = model
        self.layers = tuple(layers)
        self.choose = choose
        self.positions = positions
        self._expected: Prefill | None = None
        self._run: Prefill | None = None
        self._cache: Any = None
        self._shortened: WeakSet = WeakSet()

    def expect(self, prefill: Prefill | None) -> None:
        """The next forward of the language model is the prefill of this prompt."""
        self._expected = prefill

    def attached(self) -> ExitStack:
        """The hooks and the observed attention, as a context."""
        stack, blocks = ExitStack(), self.model.layers
        observers = {blocks[index].self_attn: self._look for index in self.layers}
        stack.enter_context(observed(self.model, observers))
        handles = [
            self.model.register_forward_pre_hook(self._begin, with_kwargs=True),
            self.model.register_forward_hook(self._finish, with_kwargs=True),
            *(blocks[index].register_forward_hook(self._drop) for index in self.layers),
            *(
                block.register_forward_pre_hook(partial(self._fit, index), with_kwargs=True)
                for index, block in enumerate(blocks)
                if index >= self.layers[0]
            ),
        ]
        for handle in handles:
            stack.callback(handle.remove)
        return stack

    def _begin(self, model: nn.Module, args: tuple, kwargs: dict) -> None:
        self._run, self._expected, self._cache = self._expected, None, cache_in(kwargs)
        if self._run is None and self._cache in self._shortened and kwargs["inputs_embeds"].shape[1] > 1:
            raise ValueError(
                f"{kwargs['inputs_embeds'].shape[1]} tokens at once follow a prompt whose cache was shortened; only "
                "decoding a token at a time can. Begin another turn with the whole conversation and a new cache"
            )

    def _look(self, query: Tensor, key: Tensor, scaling: float) -> None:
        if self._run is not None:
            self._run.look(query, key, scaling)

    def _drop(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        if self._run is None:
            return None
        before = len(self._run.rows)
        rows = self._run.drop(self.choose)
        return output if len(rows) == before else with_hidden(output, hidden_in(output).index_select(1, rows))

    def _fit(self, index: int, layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        """What the model prepared once for all layers, fitted to the shorter sequence or cache of this one."""
        mask = kwargs.get("attention_mask")
        if self._run is not None:
            rows = self._run.rows
            if len(rows) == self._run.length:
                return None
            fitted = {name: self._at(value, rows) for name, value in kwargs.items() if name in _PER_POSITION}
            if mask is not None:
                fitted["attention_mask"] = mask.index_select(2, rows).index_select(3, rows)
            return args, {**kwargs, **fitted}
        if self._cache not in self._shortened:
            return None
        length = self._cache.get_seq_length(index)
        fitted = {} if mask is None else {"attention_mask": mask[..., -length - 1 :]}
        if self.positions == "renumber":
            hidden = args[0] if args else kwargs["hidden_states"]
            place = torch.full((1, 1), length, device=hidden.device)
            fitted.update(position_ids=place, position_embeddings=self.model.rotary_emb(hidden, place))
        return args, {**kwargs, **fitted}

    def _at(self, value: Any, rows: Tensor) -> Any:
        """Position ids (B, n), indices (n,) or rotary tables (B, n, d), at the rows that are left."""
        if isinstance(value, tuple):
            return tuple(self._at(table, rows) for table in value)
        if value is None:
            return None
        places = torch.arange(len(rows), device=rows.device) if self.positions == "renumber" else rows
        return value.index_select(min(value.dim() - 1, 1), places)

    def _finish(self, model: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        run, cache = self._run, self._cache
        self._run = self._cache = None
        if run is None:
            return
        if cache is None and hasattr(output, "keys"):
            cache = cache_in(output)
        if cache is None:
            return
        select_cache(cache.layers, run.stages, self.layers)
        self._shortened.add(cache)
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        run.cache_lengths = [keys.shape[2] for keys in tensors[::2]]
        run.cache_bytes = sum(tensor.nbytes for tensor in tensors)


_PER_POSITION = ("position_ids", "cache_position", "position_embeddings")
