"""From images to one vector each: a tower that may run on fewer and fewer tokens, and its last norm.

Shapes: B images, C channels of the tower, S the side of an image in pixels.
"""

import torch
from torch import Tensor, nn

from effowt_d2.modeling.peft import log_gates
from effowt_d2.modeling.tokens import TokenReduction
from effowt_d2.modeling.tower.hooks import BlockHook, Rows
from effowt_d2.modeling.tower.tokens import Tokens
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.transfer.ownership import TrainedPart, tower_parts
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice, check_count, check_number

__all__ = ["POOLS", "PooledTower"]

POOLS = ("auto", "class", "mean")


class EmbeddingAgain(BlockHook):
    """Adds the embedded image once more to the output of one block; where tokens were dropped, it follows them.

    Args:
        x: (B, L, C) tokens that enter the first block.
        number: of the block.
    """

    def __init__(self, x: Tensor, number: int):
        self.x = x
        self.number = number

    def reduced(self, rows: Rows) -> None:
        self.x = rows(self.x)

    def beside_feed(self, number: int, tokens: Tokens) -> Tensor | None:
        return self.x if number == self.number else None


class PooledTower(nn.Module):
    """A tower whose output is its class token, or the mean of the tokens that are left.

    Args:
        tower: it is finalised here.
        reduction: of its tokens; from here on it is one of the tower's companions. None for all tokens.
        pool: of ``POOLS``; ``auto`` is ``class`` where the tower has a class token, else ``mean``.
        size: S, a multiple of the tower's stride.
        add_embedding: add the embedded image once more behind the first quarter of the blocks, as the release does.
        tower_lr_factor, peft_lr_factor: learning rates of the tower, where it trains, and of what is attached to it, as
            multiples of the base rate.

    Raises:
        ValueError: the size or the pool does not fit the tower.
    """

    def __init__(
        self,
        *,
        tower: Tower,
        reduction: TokenReduction | None = None,
        pool: str = "auto",
        size: int = 224,
        add_embedding: bool = False,
        tower_lr_factor: float = 1.0,
        peft_lr_factor: float = 1.0,
    ):
        super().__init__()
        check_choice("pool", pool, POOLS)
        if check_count("size", size) % tower.stride:
            raise bad_argument("size", f"must be a multiple of {tower.stride}, the tower's stride, got {size}")
        if pool == "class" and not tower.prefix:
            raise bad_argument("pool", f"class needs a class token, which {tower.name} has not; mean needs none")
        self.size = size
        self.add_embedding = add_embedding
        self.by_class = pool != "mean" and tower.prefix > 0
        self.lr_factors = {
            "tower_lr_factor": check_number("tower_lr_factor", tower_lr_factor),
            "peft_lr_factor": check_number("peft_lr_factor", peft_lr_factor),
        }
        if reduction is not None:
            tower.companions["tokens"] = reduction
            # it can make whole maps of the tokens that are left, which nobody needs here
            reduction.maps = False
            if getattr(reduction, "gate", None) is not None:
                reduction.gate.requires_grad_(False)
        self.tower = tower.finalise()
        mean, std = torch.tensor(tower.pixel_mean), torch.tensor(tower.pixel_std)
        self.register_buffer("mean", mean.view(-1, 1, 1), persistent=False)
        self.register_buffer("std", std.view(-1, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """C."""
        return self.tower.embed_dim

    def trained_parts(self) -> list[TrainedPart]:
        """What trains inside, by module object."""
        return tower_parts(self.tower, **self.lr_factors)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255 to (B, C) float32."""
        pixels = (images.float() / 255 - self.mean) / self.std
        tokens = self.tower.embed(pixels)
        hooks = [EmbeddingAgain(tokens.x, self.tower.depth // 4 - 1)] if self.add_embedding else []
        tokens, _ = self.tower.run(tokens, hooks=hooks)
        if self.training:
            log_gates(self.tower)
        return (self.tower.finish(tokens.x[:, :1])[:, 0] if self.by_class else self._mean(tokens)).float()

    def _mean(self, tokens: Tokens) -> Tensor:
        patches = self.tower.finish(tokens.patches)
        if tokens.valid is None:
            return patches.mean(1)
        weight = tokens.valid[..., None].to(patches.dtype)
        return (patches * weight).sum(1) / weight.sum(1)
