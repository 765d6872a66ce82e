"""Quota windows of a map: groups of cells that each keep their own number of tokens.

Tables are on the CPU whatever the default device is: they are made once, and Python reads their sizes.
"""

from functools import lru_cache

import torch
from torch import Tensor

from .step import as_groups

__all__ = ["whole_windows", "windows_of_map"]


@lru_cache(maxsize=64)
def windows_of_map(grid: tuple[int, int], window: int, outer: int = 0) -> Tensor:
    """The cells of each window, from the top left; windows at the right and bottom may be cut off.

    Args:
        grid: (h, w).
        window: side in cells; 0 for one window, the whole map.
        outer: side of larger windows, a multiple of it; those inside one follow each other. 0 for none.

    Returns:
        (G, M) numbers of the cells in raster order, -1 beyond a window's size.
    """
    return _members(_window_numbers(grid, window, outer))


@lru_cache(maxsize=64)
def whole_windows(grid: tuple[int, int], side: int, window: int, outer: int = 0) -> tuple[Tensor, Tensor]:
    """Small windows that lie on the map as a whole, and the quota windows that they lie in.

    Args:
        grid, window, outer: see :func:`windows_of_map`.
        side: of a small window in cells, which divides ``window``.

    Returns:
        (W, side * side) cells of each small window, and (G, Wm) numbers of the small windows in each quota window, -1
        beyond.
    """
    small = windows_of_map(grid, side)
    small = small[(small >= 0).sum(1) == side * side]
    group = _window_numbers(grid, window, outer)
    return small, _members(group[small[:, 0]], groups=int(group.max()) + 1)


def _window_numbers(grid: tuple[int, int], window: int, outer: int) -> Tensor:
    """(h * w,) number of the window that each cell lies in."""
    rows = torch.arange(grid[0], device="cpu")[:, None]
    columns = torch.arange(grid[1], device="cpu")[None, :]
    number = torch.zeros(grid, dtype=torch.long, device="cpu")
    for side in (outer, window):
        if side:
            number = (number * grid[0] + rows // side) * grid[1] + columns // side
    return number.flatten().unique(return_inverse=True)[1]


def _members(number: Tensor, groups: int = 0) -> Tensor:
    """(G, M) what carries each number, -1 beyond."""
    table = as_groups(number.bincount(minlength=groups).tolist())
    return torch.where(table < 0, -1, number.argsort(stable=True)[table]) if len(number) else table
