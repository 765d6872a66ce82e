"""Multiplications and cache bytes of each stage, by closed form.

Shapes: n positions, d width, m inner width of the MLP, P + T text tokens, V_k vision tokens after stage k (V_0 when they
enter the language model), L layers. A multiply-accumulate (MAC) counts once: FLOPs are twice as many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Budget", "LanguageShape", "VisionShape"]


@dataclass(frozen=True, kw_only=True)
class LanguageShape:
    """Sizes of a decoder with gated MLP and grouped key-value heads."""

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int

    @classmethod
    def from_config(cls, config: Any) -> "LanguageShape":
        """Args: config: of LLaVA's language model."""
        return cls(
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            inner=config.intermediate_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            vocab=config.vocab_size,
        )

    def macs(self, lengths: Sequence[int], *, queries: Sequence[int] | None = None, logits: int = 1) -> int:
        """Of one forward.

        Args:
            lengths: keys that the queries of each layer attend to.
            queries: positions that pass through each layer; None if they are the keys, in a prefill.
            logits: rows that the head is applied to.
        """
        own, shared = self.heads * self.head_dim, self.kv_heads * self.head_dim
        per_query = 2 * self.width * (own + shared) + 3 * self.width * self.inner
        passing = lengths if queries is None else queries
        blocks = sum(n * per_query + 2 * n * keys * own for n, keys in zip(passing, lengths))
        return blocks + logits * self.width * self.vocab

    def cache_bytes(self, lengths: Sequence[int], value_bytes: int) -> int:
        return 2 * self.kv_heads * self.head_dim * value_bytes * sum(lengths)


@dataclass(frozen=True, kw_only=True)
class VisionShape:
    """Sizes of a CLIP tower on square images, and of the two-layer projector behind it."""

    layers: int
    width: int
    inner: int
    patch: int
    patches: int
    projected: int
    features: int = 1

    @classmethod
    def from_config(cls, config: Any) -> "VisionShape":
        """Args: config: of the LLaVA model."""
        vision, layers = config.vision_config, config.vision_feature_layer
        return cls(
            layers=vision.num_hidden_layers,
            width=vision.hidden_size,
            inner=vision.intermediate_size,
            patch=vision.patch_size,
            patches=(vision.image_size // vision.patch_size) ** 2,
            projected=config.get_text_config().hidden_size,
            features=1 if isinstance(layers, int) else len(layers),
        )

    def macs(self, tokens: int) -> int:
        """Of an image that has ``tokens`` patches left after the first layer; every layer runs."""
        lengths = [self.patches + 1] + [tokens + 1] * (self.layers - 1)
        block = 4 * self.width**2 + 2 * self.width * self.inner
        blocks = sum(n * block + 2 * n * n * self.width for n in lengths)
        projector = tokens * self.projected * (self.features * self.width + self.projected)
        return self.patches * 3 * self.patch**2 * self.width + blocks + projector


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a prompt costs.

    Attributes:
        language, vision: shapes of the model.
        layers: pruning layers, one less than there are counts.
        counts: V_0 ... V_S.
        text: P + T.
        tiles: images, or tiles of them, that the tower sees.
        tile_tokens: patches of each that are left after merging.
    """

    language: LanguageShape
    vision: VisionShape
    layers: tuple[int, ...]
    counts: tuple[int, ...]
    text: int
    tiles: int = 1
    tile_tokens: int | None = None

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.layers) + 1 or list(self.counts) != sorted(self.counts, reverse=True):
            raise ValueError(f"counts must fall and be one more than the {len(self.layers)} layers, not {self.counts}")

    def dense(self, image_tokens: int) -> "Budget":
        """The same prompt with nothing merged or dropped. Args: image_tokens: placeholders of the prompt."""
        return replace(self, layers=(), counts=(image_tokens,), tile_tokens=None)

    def _vision(self, *, entering: bool) -> list[int]:
        """Vision tokens that enter each layer, or leave it."""
        below = [sum(k < i if entering else k <= i for k in self.layers) for i in range(self.language.layers)]
        return [self.counts[stage] for stage in below]

    @property
    def mean_tokens(self) -> float:
        """Mean over the layers of the vision tokens that leave each: the authors' label of a setting."""
        return sum(self._vision(entering=False)) / self.language.layers

    @property
    def mean_tokens_entering(self) -> float:
        """Mean over the layers of the vision tokens that enter each: what is computed."""
        return sum(self._vision(entering=True)) / self.language.layers

    @property
    def prefill_lengths(self) -> list[int]:
        """Positions that enter each layer."""
        return [self.text + count for count in self._vision(entering=True)]

    @property
    def cache_lengths(self) -> list[int]:
        """Positions in each layer's cache when decoding begins."""
        first = self.layers[0] if self.layers else self.language.layers
        return [self.text + (self.counts[0 if i < first else -1]) for i in range(self.language.layers)]

    @property
    def vision_macs(self) -> int:
        """Of the tower and the projector."""
        tokens = self.vision.patches if self.tile_tokens is None else self.tile_tokens
        return self.tiles * self.vision.macs(tokens)

    @property
    def prefill_macs(self) -> int:
        """Of the language model on the prompt, with the logits of the last position."""
        return self.language.macs(self.prefill_lengths)

    def decode_macs(self, step: int = 1) -> int:
        """Of the language model on the ``step``-th new token."""
        return self.language.macs([n + step for n in self.cache_lengths], queries=[1] * self.language.layers)

    def cache_bytes(self, value_bytes: int = 2) -> int:
        """Of all keys and values when decoding begins. Args: value_bytes: 2 for half precision."""
        return self.language.cache_bytes(self.cache_lengths, value_bytes)
