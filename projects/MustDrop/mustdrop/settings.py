"""The thresholds and layers of the three stages, and the published ones by name."""

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Setting", "setting_named"]

# where the release prunes in a language model of 32 layers
PUBLISHED_LAYERS, PUBLISHED_DEPTH = (2, 6, 10, 14), 32


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What each stage does.

    Attributes:
        merge_threshold: mean cosine from which a window of patches is merged; None merges nothing.
        merge_window: side of a window in patches.
        key_ratio: fraction of the vision tokens that form the key set, which is never dropped.
        layers: language-model layers after which tokens are dropped, rising, the first at least 1; None for the
            published ones, moved to the model's depth.
        gamma: a token is weak for the text as a whole below this share of the attention that all vision tokens receive.
        alpha: a token is weak for every text token below this attention. With either at 0 nothing is dropped.
    """

    merge_threshold: float | None = 0.8
    merge_window: int = 3
    key_ratio: float = 0.08
    layers: tuple[int, ...] | None = None
    gamma: float = 0.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        if self.merge_threshold is not None and not self.merge_threshold >= -1:
            raise ValueError(f"merge_threshold is a cosine or None, not {self.merge_threshold}")
        if self.merge_window < 2:
            raise ValueError(f"merge_window must be at least 2, not {self.merge_window}")
        if not 0 <= self.key_ratio <= 1:
            raise ValueError(f"key_ratio must lie in [0, 1], not {self.key_ratio}")
        for name in ("gamma", "alpha"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        # a share and a softmax value are at most 1
        if self.gamma > 1 and self.alpha > 1 and not self.key_ratio:
            raise ValueError(
                f"gamma {self.gamma} and alpha {self.alpha} drop every vision token, and key_ratio 0 protects none; "
                "lower a threshold or raise key_ratio"
            )

    @property
    def filters(self) -> bool:
        """Whether the prefill filter can drop anything."""
        return self.gamma > 0 and self.alpha > 0

    @property
    def off(self) -> bool:
        return self.merge_threshold is None and not self.filters

    def layers_of(self, depth: int) -> tuple[int, ...]:
        """The pruning layers in a language model of ``depth`` layers.

        Raises:
            ValueError: if they are not rising, or not within [1, depth).
        """
        layers = self.layers
        if layers is None:
            layers = tuple(sorted({max(1, round(depth * layer / PUBLISHED_DEPTH)) for layer in PUBLISHED_LAYERS}))
        if list(layers) != sorted(set(layers)) or not all(1 <= layer < depth for layer in layers):
            raise ValueError(f"layers must rise within [1, {depth}) in a model of {depth} layers, not {layers}")
        return layers


# The readme's and scripts' thresholds; a name is the mean number of vision tokens per layer that the authors report for
# LLaVA-1.5-7B, of 576.
PUBLISHED = {
    "192": Setting(gamma=0.001, alpha=0.001),
    "128": Setting(gamma=0.0012, alpha=0.001),
    "64": Setting(gamma=0.011, alpha=0.01),
    "64-vizwiz": Setting(gamma=0.005, alpha=0.001),
    "off": Setting(merge_threshold=None),
}


def setting_named(setting: "str | Setting") -> Setting:
    """A published setting by name, or the setting itself.

    Raises:
        KeyError: if the name is unknown.
        TypeError: if it is neither.
    """
    if isinstance(setting, Setting):
        return setting
    if not isinstance(setting, str):
        raise TypeError(f"setting must be a Setting or one of {list(PUBLISHED)}, not {setting!r}")
    if setting not in PUBLISHED:
        raise KeyError(f"no published setting {setting!r}; there are {list(PUBLISHED)}, or pass a Setting")
    return PUBLISHED[setting]
