"""Quota windows of a map: groups of cells that each keep their own number of tokens.

Tables are NumPy arrays, see :mod:`effowt_d2.modeling.layers.groups`.
"""

from functools import lru_cache

import numpy as np

from effowt_d2.modeling.layers.groups import as_groups

__all__ = ["whole_windows", "windows_of_map", "windows_within"]


@lru_cache(maxsize=64)
def windows_of_map(grid: tuple[int, int], window: int, outer: int = 0) -> np.ndarray:
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
def whole_windows(grid: tuple[int, int], side: int, window: int, outer: int = 0) -> tuple[np.ndarray, np.ndarray]:
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


@lru_cache(maxsize=64)
def windows_within(grid: tuple[int, int], window: int, outer: int) -> tuple[int, ...]:
    """Number of windows of :func:`windows_of_map` in each of the larger windows, in their order."""
    first = windows_of_map(grid, window, outer)[:, 0]
    return tuple(np.bincount(_window_numbers(grid, outer, 0)[first]).tolist())


def _window_numbers(grid: tuple[int, int], window: int, outer: int) -> np.ndarray:
    """(h * w,) number of the window that each cell lies in."""
    rows, columns = np.indices(grid)
    number = np.zeros(grid, dtype=int)
    for side in (outer, window):
        if side:
            number = (number * grid[0] + rows // side) * grid[1] + columns // side
    return np.unique(number.ravel(), return_inverse=True)[1].ravel()


def _members(number: np.ndarray, groups: int = 0) -> np.ndarray:
    """(G, M) what carries each number, -1 beyond."""
    table = as_groups(np.bincount(number, minlength=groups).tolist())
    return np.where(table < 0, -1, number.argsort(kind="stable")[table]) if len(number) else table
