"""Region proposals. Importing this package registers ``MaskedRPN`` and ``MaskedRPNHead``."""

from .masked_rpn import MaskedRPN, MaskedRPNHead

__all__ = ["MaskedRPN", "MaskedRPNHead"]
