"""Where a token lies and what it belongs to: one table of positions for both crops and a vector per type of token, or a
table for each crop.

Shapes: B pairs of crops, d channels, a template grid of h x w and a search grid of H x W tokens.

    positions, H x W            template takes         the three types, learned
    +--------+----+             the top left           0  template, background
    | h x w  |    |             h x w of them          1  template, target
    +--------+    |                                    2  search
    |             |
    +-------------+
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_number, check_positive

__all__ = ["SeparatePositions", "TokenEmbedding", "resize_positions"]

_SEARCH = 2


class TokenEmbedding(nn.Module):
    """Adds position and type to patches (the decoupled embedding of LoRAT, arXiv 2403.05231).

    Args:
        positions: (d, g, g) those of the pre-trained tower; resized to the search grid once, and not trained.
        template_grid: (h, w).
        search_grid: (H, W).
        trains: whether the tower does.
        type_std: standard deviation that the types start with. A tower with large patch tokens hardly sees the release's 0.02.

    Attributes:
        types: (3, d), trained.

    Raises:
        ValueError: the template grid is larger than the search grid, or the deviation is not positive.
    """

    scales = ("types",)
    """Left alone by weight decay."""
    of_tower = False
    """Whether it trains as the tower does."""

    def __init__(
        self,
        *,
        positions: Tensor,
        template_grid: tuple[int, int],
        search_grid: tuple[int, int],
        trains: bool = False,
        type_std: float = 0.02,
    ):
        super().__init__()
        if template_grid[0] > search_grid[0] or template_grid[1] > search_grid[1]:
            raise bad_argument(
                "template_grid", f"must lie within the search grid {tuple(search_grid)}, got {tuple(template_grid)}"
            )
        self.template_grid = template_grid
        self.types = _token_types(positions, check_positive("type_std", type_std))
        table = resize_positions(positions.detach(), search_grid)
        # of the tower, whose tensors no checkpoint of a tracker holds
        self.register_buffer("positions", table, persistent=False)

    def template(self, patches: Tensor, foreground: Tensor) -> Tensor:
        """
        Args:
            patches: (B, d, h, w).
            foreground: (B, h, w) true or 1 for tokens that show the target.

        Returns:
            (B, h * w, d), in order of rows.
        """
        h, w = self.template_grid
        types = self.types[foreground.long()].flatten(1, 2)
        return _sequence(patches + self.positions[:, :h, :w]) + types

    def search(self, patches: Tensor) -> Tensor:
        """Patches (B, d, H, W) as (B, H * W, d), in order of rows."""
        return _sequence(patches + self.positions) + self.types[_SEARCH]


class SeparatePositions(nn.Module):
    """Adds a table of positions of its own to each crop (AQATrack, arXiv 2403.10574).

    In the releases nothing else distinguishes the crops: their towers train, and the tables with them. For a frozen tower
    there are types of tokens besides.

    Args:
        positions: (d, g, g) those of the pre-trained tower; resized to each grid once.
        template_grid, search_grid: (h, w) and (H, W).
        trains: whether the tower does. The tables of a frozen one are frozen, and in no checkpoint.
        type_std: standard deviation that types as those of :class:`TokenEmbedding` start with; 0: no types.

    Attributes:
        types: (3, d), trained, or None.
        of_tower: whether it trains as the tower does, types too.

    Raises:
        ValueError: the deviation is negative.
    """

    scales = ("types",)

    def __init__(
        self,
        *,
        positions: Tensor,
        template_grid: tuple[int, int],
        search_grid: tuple[int, int],
        trains: bool = False,
        type_std: float = 0.0,
    ):
        super().__init__()
        self.of_tower = trains
        self.types = _token_types(positions, type_std) if check_number("type_std", type_std, 0) else None
        for name, grid in (("template_positions", template_grid), ("search_positions", search_grid)):
            table = _sequence(resize_positions(positions.detach(), grid)[None])
            if trains:
                self.register_parameter(name, nn.Parameter(table))
            else:
                self.register_buffer(name, table, persistent=False)

    def template(self, patches: Tensor, foreground: Tensor) -> Tensor:
        """As :meth:`TokenEmbedding.template`; without types the foreground plays no part."""
        tokens = _sequence(patches) + self.template_positions
        return tokens if self.types is None else tokens + self.types[foreground.long()].flatten(1, 2)

    def search(self, patches: Tensor) -> Tensor:
        """Patches (B, d, H, W) as (B, H * W, d), in order of rows."""
        tokens = _sequence(patches) + self.search_positions
        return tokens if self.types is None else tokens + self.types[_SEARCH]


def _token_types(positions: Tensor, std: float) -> nn.Parameter:
    """The types (3, d) of the diagram above, for positions (d, g, g)."""
    types = torch.empty(3, len(positions), device=positions.device)
    # torch's own bounds are 2, whatever the deviation: they would cut large types
    return nn.Parameter(nn.init.trunc_normal_(types, std=std, a=-100 * std, b=100 * std))


def _sequence(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """A table (d, g, g) on another grid, (d, rows, columns): bicubic, without smoothing; unchanged on its own grid."""
    if tuple(positions.shape[1:]) == tuple(grid):
        return positions.clone()
    resized = F.interpolate(positions[None].float(), size=tuple(grid), mode="bicubic", align_corners=False)[0]
    return resized.to(positions)
