"""Cost of a model: parameters, multiply-adds, and bytes that autograd saves for the backward pass."""

from .flops import count_call, count_flops, multiply_adds
from .parameters import PartCount, count_parameters, format_parameters, model_parts, ratios, side_total
from .saved_bytes import count_saved_bytes, dummy_batch
from .training_memory import training_memory

__all__ = [
    "PartCount",
    "count_call",
    "count_flops",
    "count_parameters",
    "count_saved_bytes",
    "format_parameters",
    "dummy_batch",
    "model_parts",
    "multiply_adds",
    "ratios",
    "side_total",
    "training_memory",
]
