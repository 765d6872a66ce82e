"""Template and search tokens in one tower: what a one-stream tracker computes before its head.

Shapes: B targets, R references (templates) of each, d channels, a template grid of h x w and a search grid of H x W.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from effowt_d2.modeling.peft import log_gates
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.transfer.ownership import TrainedPart, tower_parts
from effowt_d2.utils.arguments import bad_argument

from .cells import touched_cells
from .embedding import TokenEmbedding

__all__ = ["JointEncoder"]


class JointEncoder(nn.Module):
    """Runs the tokens of references and search crop through a tower together, with full attention.

    Args:
        tower: at stride 16 or that of its patches; its class token takes no part.
        template_size, search_size: sides of the crops in pixels.
        embedding: makes what adds positions to the patches, see :class:`sot.embedding.TokenEmbedding`.
        tower_lr_factor, peft_lr_factor: learning rates of the tower and of what is attached to it, as multiples of the base
            rate.

    Raises:
        ValueError: a side is not a multiple of the tower's stride, or the template is larger than the search crop.
    """

    def __init__(
        self,
        *,
        tower: Tower,
        template_size: int,
        search_size: int,
        embedding: Callable[..., nn.Module] = TokenEmbedding,
        tower_lr_factor: float = 1.0,
        peft_lr_factor: float = 1.0,
    ):
        super().__init__()
        for name, size in (("template_size", template_size), ("search_size", search_size)):
            if size % tower.stride:
                raise bad_argument(name, f"must be a multiple of {tower.stride}, the tower's stride, got {size}")
        self.tower = tower
        self.template_size = template_size
        self.template_grid = (template_size // tower.stride,) * 2
        self.search_grid = (search_size // tower.stride,) * 2
        self.embedding = embedding(
            positions=tower.positions(),
            template_grid=self.template_grid,
            search_grid=self.search_grid,
            trains=not tower.frozen,
        )
        # the table is copied, there is no class token, and the norm of finish() counts, unlike for taps
        loose = [p for m in tower.embedding() if isinstance(m, nn.ParameterList) for p in m]
        tower.base.set_used(more=tower.final_norm.parameters(), less=loose)
        # a mean-pooled tower of timm has its norm behind the pooling; without one, heads meet residuals of any size
        pooled = isinstance(tower.final_norm, nn.Identity)
        self.norm = nn.LayerNorm(tower.embed_dim, elementwise_affine=False) if pooled else nn.Identity()
        self.tower_lr_factor = tower_lr_factor
        self.peft_lr_factor = peft_lr_factor
        mean, std = torch.tensor(tower.pixel_mean), torch.tensor(tower.pixel_std)
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(-1, 1, 1), persistent=False)

    def trained_parts(self) -> list[TrainedPart]:
        """What trains, by module object."""
        factor = self.tower_lr_factor
        parts = tower_parts(self.tower, tower_lr_factor=factor, peft_lr_factor=self.peft_lr_factor)
        if not self.tower.frozen:
            parts.append(TrainedPart("tower", (self.tower.final_norm,), factor))
        if self.embedding.of_tower:
            parts.append(TrainedPart("tower", (self.embedding,), factor, self.tower.depth))
        return parts

    def normalise(self, crops: Tensor) -> Tensor:
        """Crops (..., 3, S, S) in 0..1 as the tower takes them."""
        return (crops - self.mean) / self.std

    def foreground(self, boxes: Tensor) -> Tensor:
        """(N, h, w) bool: which tokens of a template show the target, whose boxes (N, 4) are in pixels of the crop."""
        return touched_cells(boxes, self.template_grid, (self.template_size, self.template_size))

    def template_tokens(self, crops: Tensor, foreground: Tensor) -> Tensor:
        """Normalised templates (B, 3, S, S) and their masks (B, h, w) to tokens (B, h * w, d)."""
        return self.embedding.template(self.tower.patches(crops), foreground)

    def search_tokens(self, crops: Tensor) -> Tensor:
        """Normalised search crops (B, 3, S, S) to tokens (B, H * W, d)."""
        return self.embedding.search(self.tower.patches(crops))

    def forward(self, before: Sequence[Tensor], search: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            before: tokens (B, n, d) that the search tokens look at, such as those of references.
            search: tokens (B, H * W, d).

        Returns:
            Behind the final norm, without gain where the tower has none: the tokens before (B, P, d), and the search tokens as a map (B, H, W, d).
        """
        if self.training:
            log_gates(self.tower)
        x = self.tower.enter(torch.cat([*before, search], dim=1))
        tokens = Tokens(x, prefix=x.shape[1] - search.shape[1], grid=self.search_grid)
        x = self.norm(self.tower.finish(self.tower.run(tokens)[0].x))
        return x[:, : tokens.prefix], x[:, tokens.prefix :].unflatten(1, self.search_grid)
