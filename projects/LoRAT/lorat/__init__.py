"""LoRAT for effowt_d2. Importing this package registers the meta-architecture ``LoRAT``."""

from sot import add_config

from .model import LoRAT

__all__ = ["LoRAT", "add_config"]
