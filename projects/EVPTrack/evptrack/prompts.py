"""The prompts of EVPTrack: tokens in front of those of the images, from the template at several patch sizes and from what was
carried from the frame before.

Shapes: B targets, C channels, a template of S x S pixels and g x g tokens.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count

__all__ = ["MultiScalePrompts", "SpatioTemporalEncoder", "SpatioTemporalPrompts"]


class MultiScalePrompts(nn.Module):
    """Turns template pixels into prompts (EVPTrack, arXiv 2401.03142): patches of each size, averaged over squares of patches.

    Args:
        channels: C.
        template_size: S.
        patch_sizes: in pixels, in the order of the prompts.
        ms_pool: side of the squares; what is left over at the right and below plays no part.

    Attributes:
        count: number of prompts.

    Raises:
        ValueError: a patch size leaves no square; there is none.
    """

    def __init__(
        self, *, channels: int, template_size: int, patch_sizes: Sequence[int] = (18, 16, 14), ms_pool: int = 3
    ):
        super().__init__()
        self.pool = check_count("ms_pool", ms_pool)
        sides = [template_size // check_count("patch_sizes", size) // ms_pool for size in patch_sizes]
        if not sides or not all(sides):
            raise bad_argument(
                "patch_sizes",
                f"must leave {ms_pool} x {ms_pool} patches each in a template of {template_size} pixels, got {list(patch_sizes)}, "
                f"of which the largest needs {ms_pool * max(patch_sizes, default=1)} pixels",
            )
        self.count = sum(side * side for side in sides)
        self.patches = nn.ModuleList(nn.Conv2d(3, channels, size, stride=size) for size in patch_sizes)
        self.project = nn.Linear(channels, channels, bias=False)
        nn.init.trunc_normal_(self.project.weight, std=0.02)

    def forward(self, template: Tensor) -> Tensor:
        """(B, 3, S, S), normalised, to (B, count, C)."""
        pooled = [F.avg_pool2d(patch(template), self.pool).flatten(2) for patch in self.patches]
        return self.project(torch.cat(pooled, dim=2).transpose(1, 2))


class SpatioTemporalPrompts(nn.Module):
    """Turns the carried tokens into prompts: averaged over squares of them.

    Args:
        channels: C.
        grid: g.
        st_pool: side of the squares; an odd row and column play no part.

    Attributes:
        count: number of prompts.

    Raises:
        ValueError: the grid has no square.
    """

    def __init__(self, *, channels: int, grid: int, st_pool: int = 2):
        super().__init__()
        self.pool = check_count("st_pool", st_pool)
        if st_pool > grid:
            raise bad_argument("st_pool", f"must be at most {grid}, the side of the template's grid, got {st_pool}")
        self.grid = grid
        self.count = (grid // st_pool) ** 2
        self.project = nn.Linear(channels, channels, bias=False)
        nn.init.trunc_normal_(self.project.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, g * g, C) to (B, count, C)."""
        return self.project(self.pooled(tokens))

    def pooled(self, tokens: Tensor) -> Tensor:
        """The averages (B, count, C)."""
        squares = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return F.avg_pool2d(squares, self.pool).flatten(2).transpose(1, 2)


class SpatioTemporalEncoder(nn.Module):
    """Makes what is carried on: the template's tokens, after they looked at the search crop's and at what was carried here.

    The rows of the template alone are kept, so that nothing adds up over time.

    Args:
        channels: C.
        heads: of attention.
        depth: blocks.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(self, *, channels: int, heads: int, depth: int = 1):
        super().__init__()
        if channels % check_count("heads", heads):
            raise bad_argument("heads", f"must divide the {channels} channels, got {heads}")
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        norm = lambda size, **where: nn.LayerNorm(size, eps=1e-6, **where)  # noqa: E731
        blocks = [Block(channels, heads, qkv_bias=True, norm_layer=norm) for _ in range(check_count("depth", depth))]
        self.blocks = nn.Sequential(*blocks)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)

    def forward(self, template: Tensor, search: Tensor, carried: Tensor) -> Tensor:
        """
        Args:
            template, search: tokens (B, n, C) and (B, N, C), as they enter the tower's blocks.
            carried: (B, n, C), of the frame before.

        Returns:
            (B, n, C).
        """
        x = self.norm(torch.cat([template, search, carried], dim=1))
        return self.blocks(x)[:, : template.shape[1]]
