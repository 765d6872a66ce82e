"""What happened to one prompt."""

from dataclasses import dataclass

from .budget import Budget, LanguageShape, VisionShape
from .prefill import Prefill

__all__ = ["Report"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Tokens, multiplications and cache bytes of one prompt, beside those of the untouched model.

    Attributes:
        language, vision: shapes of the model.
        layers: pruning layers.
        image_tokens: placeholders of the prompt.
        key_tokens: size of the key set.
        merge: ``on``, or ``off`` and the reason.
        tiles: images, or tiles of them, that the tower saw.
        tile_tokens: patches of each that were left after merging.
        prefill: what the language model's hooks recorded; complete once the prefill has run.
    """

    language: LanguageShape
    vision: VisionShape
    layers: tuple[int, ...]
    image_tokens: int
    key_tokens: int
    merge: str
    tiles: int
    tile_tokens: int
    prefill: Prefill

    @property
    def counts(self) -> tuple[int, ...]:
        """V_0 ... V_S, the vision tokens that enter the language model and those after each stage."""
        return tuple(self.prefill.counts)

    @property
    def budget(self) -> Budget:
        return Budget(
            language=self.language,
            vision=self.vision,
            layers=self.layers,
            counts=self.counts,
            text=self.prefill.length - self.prefill.vision,
            tiles=self.tiles,
            tile_tokens=self.tile_tokens,
        )

    @property
    def dense(self) -> Budget:
        """Of the same prompt on the untouched model."""
        return self.budget.dense(self.image_tokens)

    def __str__(self) -> str:
        ours, dense = self.budget, self.dense
        saved = {
            "vision MACs": (ours.vision_macs, dense.vision_macs),
            "prefill MACs": (ours.prefill_macs, dense.prefill_macs),
            "MACs of a decoding step": (ours.decode_macs(), dense.decode_macs()),
            "cache values": (ours.cache_bytes(1), dense.cache_bytes(1)),
        }
        lines = [
            f"vision tokens: {self.image_tokens}, then {', '.join(map(str, self.counts))} (merge: {self.merge}; "
            f"{self.key_tokens} in the key set); mean per layer {ours.mean_tokens:.1f}",
            *(f"{name}: {a:.4g} of {b:.4g}, {100 * (1 - a / b):.1f} % less" for name, (a, b) in saved.items()),
        ]
        return "\n".join(lines)
