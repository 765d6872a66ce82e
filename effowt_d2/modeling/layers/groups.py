"""Groups that lie next to each other in a sequence.

Tables are NumPy arrays, so that their sizes are known to Python on any device, also where tensors have no values.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["as_groups"]


def as_groups(sizes: Sequence[int]) -> np.ndarray:
    """Groups that lie next to each other: (G, M) numbers of their members, -1 beyond a group's size."""
    member, size = np.arange(max(1, *sizes))[None], np.array(sizes)[:, None]
    return np.where(member < size, member + size.cumsum(0) - size, -1)
