"""Local merging: small windows whose tokens look alike become one token (MustDrop, arXiv 2411.10803, its first stage).

Shapes: see :mod:`.step`; W small windows of m cells that lie on the map as a whole, at most Wm of them in a group.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .rebuild import CellMap
from .select import members_here, quota, ranks
from .step import Step, keep_in_groups, make_step, take_rows
from .windows import whole_windows, windows_of_map

__all__ = ["SmallWindows", "merge", "window_similarity"]


class SmallWindows(NamedTuple):
    """The small windows of a map, in the quota windows that they lie in.

    Attributes:
        cells: (W, m).
        of_groups: (G, Wm) numbers of the small windows in each group, -1 beyond.
        group_cells: (G,) cells of each group.
    """

    cells: np.ndarray
    of_groups: np.ndarray
    group_cells: np.ndarray

    @classmethod
    def of_map(cls, grid: tuple[int, int], side: int, window: int, outer: int = 0) -> "SmallWindows":
        """Args: see :func:`.windows.whole_windows`."""
        cells, of_groups = whole_windows(grid, side, window, outer)
        return cls(cells, of_groups, (windows_of_map(grid, window, outer) >= 0).sum(1))


def window_similarity(x: Tensor) -> Tensor:
    """Mean cosine over the pairs of different tokens. (..., m, C) -> (...) float32."""
    unit = F.normalize(x.float(), dim=-1)
    size = x.shape[-2]
    # the sum over all pairs is the square of the sum; a token with itself gives 1
    return (unit.sum(-2).square().sum(-1) - unit.square().sum((-1, -2))) / (size * (size - 1))


def merge(
    x: Tensor,
    valid: Tensor | None,
    members: np.ndarray,
    rate: float,
    *,
    windows: SmallWindows,
    cells: CellMap,
    threshold: float = -1.0,
) -> Step | None:
    """Make one token of each of the most uniform small windows of every group.

    A group merges as many windows as bring its n valid tokens to ``ceil(rate * n)`` or just above. Windows that are cut
    off, hold padding or are merged already are left alone. A merged token is the mean of its window.

    Args:
        x: (B, L, C).
        valid: (B, L) bool, or None if all are.
        members: (G, M) tokens of each group, -1 beyond its size.
        rate: in (0, 1].
        windows: of the map.
        cells: which tokens stand for its cells.
        threshold: similarity below which a window is not merged; -1 for none.

    Returns:
        The step, or None if nothing is merged.
    """
    if not len(windows.cells):
        return None
    device, size = x.device, windows.cells.shape[1]
    table, of_groups = (torch.as_tensor(array, device=device) for array in (members, windows.of_groups))
    here, counts = members_here(members, valid, batch=len(x), device=device)
    similarity = _of_candidates(x, windows, cells, threshold)
    if valid is None and threshold <= -1:
        possible = _left(counts, windows)
    else:
        possible = (similarity > -torch.inf).sum(-1).cpu().numpy()
    merges = np.minimum((counts - quota(counts, rate)) // (size - 1), possible)
    if not merges.any():
        return None
    chosen = ranks(similarity) < torch.as_tensor(merges, device=device)[..., None]
    pools = keep_in_groups(chosen, of_groups, merges.max(0).tolist())
    joins = _joins(torch.where(chosen, pools.place, -1), windows, cells, x.shape[1])[:, table.clamp(min=0)]
    stays, kept = here & (joins < 0), counts - merges * size
    own = torch.as_tensor(windows.cells, device=device)[pools.index]
    return make_step(
        table,
        stays,
        keep_in_groups(stays, table, kept.max(0).tolist()),
        pooled=cells.slots.gather(1, own.flatten(1)).unflatten(1, (-1, size)),
        weights=(pools.valid / size)[..., None].expand(-1, -1, size),
        pooled_valid=pools.valid,
        pooled_sizes=merges.max(0).tolist(),
        joins=torch.where(here, joins, -1),
        length=x.shape[1],
        all_valid=bool((kept == kept[0]).all() and (merges == merges[0]).all()),
    )


def _of_candidates(x: Tensor, windows: SmallWindows, cells: CellMap, threshold: float) -> Tensor:
    """(B, G, Wm) similarity of the windows that may be merged, -inf for the others."""
    there, table = (torch.as_tensor(array, device=x.device) for array in (windows.cells, windows.of_groups))
    slots = cells.slots[:, there.flatten()]
    similarity = window_similarity(take_rows(x, slots).unflatten(1, there.shape))
    candidates = cells.whole[:, there].all(-1)
    if threshold > -1:
        candidates = candidates & (similarity >= threshold)
    return similarity.masked_fill(~candidates, -torch.inf)[:, table.clamp(min=0)].masked_fill(table < 0, -torch.inf)


def _left(counts: np.ndarray, windows: SmallWindows) -> np.ndarray:
    """(1, G) windows that are not merged yet, from the number of tokens: a merge takes m - 1 of them away."""
    return (windows.of_groups >= 0).sum(1)[None] - (windows.group_cells[None] - counts) // (windows.cells.shape[1] - 1)


def _joins(places: Tensor, windows: SmallWindows, cells: CellMap, length: int) -> Tensor:
    """From windows to their tokens. (B, G, Wm) places of merged windows, -1 for none -> (B, L), alike."""
    there, table = (torch.as_tensor(array, device=places.device) for array in (windows.cells, windows.of_groups))
    # what is no window, or is no longer a token, goes behind the last
    to = torch.where(table < 0, len(there), table).flatten().expand(len(places), -1)
    by_window = places.new_full((len(places), len(there) + 1), -1).scatter(1, to, places.flatten(1))[:, :-1]
    by_cell = by_window.repeat_interleave(there.shape[1], dim=1)
    tokens = torch.where(by_cell < 0, length, cells.slots[:, there.flatten()])
    return places.new_full((len(places), length + 1), -1).scatter(1, tokens, by_cell)[:, :length]
