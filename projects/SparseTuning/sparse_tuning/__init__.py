"""Sparse-Tuning for effowt_d2: image classification. Importing this package registers its parts."""

from . import evaluation, released  # noqa: F401  (they register the evaluator and the released reduction)
from .classifier import ImageClassifier
from .config import add_config
from .data import loader  # noqa: F401  (it registers the loader)
from .data.arrays import register_handler
from .data.builtin import register_all, register_layouts

__all__ = ["ImageClassifier", "add_config"]

register_handler()
register_all()
register_layouts()
