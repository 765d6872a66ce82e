"""Local merging: small windows whose tokens look alike become one token (MustDrop, arXiv 2411.10803, its first stage).

Shapes: see :mod:`.step`; W small windows of m cells that lie on the map as a whole, at most Wm of them in a group.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .rebuild import CellMap
from .select import quota, ranks
from .step import Step, keep_in_groups, make_step
from .windows import whole_windows, windows_of_map

__all__ = ["SmallWindows", "merge", "window_similarity"]


class SmallWindows(NamedTuple):
    """The small windows of a map, in the quota windows that they lie in; tables on the CPU.

    Attributes:
        cells: (W, m).
        of_groups: (G, Wm) numbers of the small windows in each group, -1 beyond.
        group_cells: (G,) cells of each group.
    """

    cells: Tensor
    of_groups: Tensor
    group_cells: Tensor

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
    members: Tensor,
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
        members: (G, M) tokens of each group on the CPU, -1 beyond its size.
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
    index, table = members.clamp(min=0).to(device), windows.of_groups.to(device)
    here = (members >= 0).to(device).expand(len(x), -1, -1)
    here = here if valid is None else here & valid[:, index]
    similarity = _of_candidates(x, windows, cells, threshold)
    if valid is None and threshold <= -1:
        counts, possible = _known_counts(members, windows)
    else:
        counts, possible = here.sum(-1), (similarity > -torch.inf).sum(-1)
    merges = torch.minimum((counts - quota(counts, rate)) // (size - 1), possible)
    (kept_sizes, sizes), all_valid = _sizes(counts - merges * size, merges)
    if not any(sizes):
        return None
    chosen = ranks(similarity) < merges.to(device)[..., None]
    pools = keep_in_groups(chosen, table, sizes)
    joins = _joins(torch.where(chosen, pools.place, -1), windows, cells, x.shape[1])[:, index]
    stays = here & (joins < 0)
    return make_step(
        members.to(device),
        stays,
        keep_in_groups(stays, index, kept_sizes),
        pooled=cells.slots.gather(1, windows.cells.to(device)[pools.index].flatten(1)).unflatten(1, (-1, size)),
        weights=(pools.valid / size)[..., None].expand(-1, -1, size),
        pooled_valid=pools.valid,
        pooled_sizes=sizes,
        joins=torch.where(here, joins, -1),
        length=x.shape[1],
        all_valid=all_valid,
    )


def _of_candidates(x: Tensor, windows: SmallWindows, cells: CellMap, threshold: float) -> Tensor:
    """(B, G, Wm) similarity of the windows that may be merged, -inf for the others."""
    there = windows.cells.to(x.device)
    slots = cells.slots[:, there.flatten()]
    similarity = window_similarity(torch.take_along_dim(x, slots[..., None], 1).unflatten(1, there.shape))
    candidates = cells.whole[:, there].all(-1)
    if threshold > -1:
        candidates = candidates & (similarity >= threshold)
    table = windows.of_groups.to(x.device)
    return similarity.masked_fill(~candidates, -torch.inf)[:, table.clamp(min=0)].masked_fill(table < 0, -torch.inf)


def _known_counts(members: Tensor, windows: SmallWindows) -> tuple[Tensor, Tensor]:
    """(1, G) tokens, and windows that may be merged: known without a look at the device where nothing is padding."""
    counts = (members >= 0).sum(1)
    # each merge so far took m - 1 tokens away
    merged = (windows.group_cells - counts) // (windows.cells.shape[1] - 1)
    return counts[None], ((windows.of_groups >= 0).sum(1) - merged)[None]


def _sizes(kept: Tensor, merges: Tensor) -> tuple[list[list[int]], bool]:
    """The most of any image per group, of both, and whether all images have as many. (B, G) each."""
    both = torch.stack([kept, merges])
    most, fewest = torch.stack([both.amax(1), both.amin(1)]).tolist()
    return most, most == fewest


def _joins(places: Tensor, windows: SmallWindows, cells: CellMap, length: int) -> Tensor:
    """From windows to their tokens. (B, G, Wm) places of merged windows, -1 for none -> (B, L), alike."""
    there, table = windows.cells.to(places.device), windows.of_groups.to(places.device)
    # what is no window, or is no longer a token, goes behind the last
    to = torch.where(table < 0, len(there), table).flatten().expand(len(places), -1)
    by_window = places.new_full((len(places), len(there) + 1), -1).scatter(1, to, places.flatten(1))[:, :-1]
    by_cell = by_window.repeat_interleave(there.shape[1], dim=1)
    tokens = torch.where(by_cell < 0, length, cells.slots[:, there.flatten()])
    return places.new_full((len(places), length + 1), -1).scatter(1, tokens, by_cell)[:, :length]
