"""Controls of EffOWT's open questions. Importing this package registers them with effowt_d2."""

from . import convnext, fusions, gates, initialisations, interactions, topologies, transformer  # noqa: F401
from .config import add_config

__all__ = ["add_config"]
