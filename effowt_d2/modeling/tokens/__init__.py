"""Token reduction: a tower that runs on fewer tokens, and a dense map of them for the neck."""

from .kinds import NONE, REDUCTIONS, MergeReduction, SparseReduction, reduction_from_config
from .reduction import TokenReduction

__all__ = ["NONE", "REDUCTIONS", "MergeReduction", "SparseReduction", "TokenReduction", "reduction_from_config"]
