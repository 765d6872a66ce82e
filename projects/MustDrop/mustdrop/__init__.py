"""MustDrop (arXiv 2411.10803) for LLaVA models of transformers: vision tokens dropped in three stages."""

from .budget import Budget, LanguageShape, VisionShape
from .filtering import DualAttentionFilter
from .merging import merge_windows
from .session import MustDrop
from .settings import PUBLISHED, Setting

__all__ = [
    "PUBLISHED",
    "Budget",
    "DualAttentionFilter",
    "LanguageShape",
    "MustDrop",
    "Setting",
    "VisionShape",
    "merge_windows",
]
