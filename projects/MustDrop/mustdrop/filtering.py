"""Stage 2: which vision tokens the text does not attend to.

Shapes: T text tokens after the image, V vision tokens, K key tokens.
"""

import torch
from torch import Tensor

from .settings import Setting

__all__ = ["DualAttentionFilter"]


class DualAttentionFilter:
    """Drops what is weak for the text as a whole and for every single text token, except the key set."""

    def __init__(self, *, gamma: float, alpha: float):
        self.gamma = gamma
        self.alpha = alpha

    @classmethod
    def from_setting(cls, setting: Setting) -> "DualAttentionFilter":
        return cls(gamma=setting.gamma, alpha=setting.alpha)

    def strong(self, attention: Tensor) -> Tensor:
        """(V,) bool: strong for the text as a whole or for one of its tokens. Args: attention: (T, V)."""
        received = attention.sum(0)
        weak_for_all = received < self.gamma * received.sum()
        weak_for_each = attention.amax(0) < self.alpha
        return ~(weak_for_all & weak_for_each)

    def __call__(self, attention: Tensor, protected: Tensor) -> Tensor:
        """The tokens that stay, rising.

        Args:
            attention: (T, V) softmax attention of the text tokens, mean over heads.
            protected: (K,) indices of the key set among the V tokens.

        Raises:
            ValueError: if no token would stay.
        """
        stays = self.strong(attention)
        stays[protected] = True
        if not stays.any():
            raise ValueError(
                f"gamma {self.gamma} and alpha {self.alpha} drop all {len(stays)} vision tokens, and the key set is "
                "empty; lower a threshold or raise key_ratio"
            )
        return torch.nonzero(stays)[:, 0]
