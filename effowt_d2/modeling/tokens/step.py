"""One shortening of a sequence of patch tokens: which stay, and which become one.

Shapes: B images, L patch tokens before and N after, G groups (quota windows) of at most M tokens, C channels. A group's
tokens lie next to each other, the ones that stay in order of their position, then the pooled ones:

    before   a b c d e f | g h i j k l        after   b d e (acf) | g j l (hik)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Kept", "Step", "keep_in_groups", "make_step", "take_rows"]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """(B, L, C) and (B, ...) numbers of rows to (B, ..., C).

    As ``take_along_dim`` gives them, which keeps eight bytes for the backward pass of each value that it takes.
    """
    batch = torch.arange(len(x), device=x.device).view(-1, *[1] * (index.ndim - 1))
    return x[batch, index]


@dataclass(frozen=True)
class Step:
    """The map of one shortening, for any sequence whose rows are the tokens before it.

    Attributes:
        kept: (B, K) tokens that stay.
        pooled: (B, P, M) tokens that become one, with their ``weights`` (B, P, M): of sum 1, 0 for those that do not.
        order: (N,) place of each new token among the kept, then the pooled.
        sizes: new tokens of each group.
        valid: (B, N) bool, or None if all new tokens are; the number of tokens may differ between images.
        moved: (B, L) new token that stands for each old one, -1 for none.
        stays: (B, L) bool, true for an old token that stays as it is.
    """

    kept: Tensor
    pooled: Tensor
    weights: Tensor
    order: Tensor
    sizes: tuple[int, ...]
    valid: Tensor | None
    moved: Tensor
    stays: Tensor

    def apply(self, x: Tensor, prefix: int = 0) -> Tensor:
        """(B, prefix + L, C) -> (B, prefix + N, C); the class tokens in front stay."""
        patches = x[:, prefix:]
        rows = take_rows(patches, self.kept)
        if self.pooled.shape[1]:
            means = (self.weights.to(x.dtype)[:, :, None] @ take_rows(patches, self.pooled))[:, :, 0]
            rows = torch.cat([rows, means], dim=1)
        return torch.cat([x[:, :prefix], rows[:, self.order]], dim=1)

    def place(self, cells: Tensor, pooled: Tensor, nowhere: int = -1) -> Tensor:
        """Positions of the new tokens (B, N) from those of the old (B, L) and of the pooled ones (B, P).

        Unused places get ``nowhere``.
        """
        placed = torch.cat([cells.gather(1, self.kept), pooled], dim=1)[:, self.order]
        return placed if self.valid is None else placed.masked_fill(~self.valid, nowhere)


@dataclass(frozen=True)
class Kept:
    """The chosen members of groups, laid next to each other.

    Attributes:
        index: (B, K) chosen, by number; 0 in an unused place.
        valid: (B, K) bool, false for an unused place.
        place: (B, G, M) place of a member among its group's chosen ones.
        sizes: places per group, the most of any image.
    """

    index: Tensor
    valid: Tensor
    place: Tensor
    sizes: tuple[int, ...]


def keep_in_groups(chosen: Tensor, members: Tensor, sizes: Sequence[int]) -> Kept:
    """Lay the chosen members of groups next to each other, in their order.

    Args:
        chosen: (B, G, M) bool.
        members: (G, M) their numbers.
        sizes: places per group, no fewer than any image chooses there.
    """
    place = chosen.cumsum(-1) - 1
    start = torch.tensor([0, *sizes], device=chosen.device).cumsum(0)
    total = sum(sizes)
    # what is not chosen goes to a place behind the last, which is cut off
    to = torch.where(chosen, place + start[:-1, None], total).flatten(1)
    index = to.new_zeros(len(to), total + 1).scatter(1, to, members.clamp(min=0).flatten().expand_as(to))
    valid = torch.zeros_like(index, dtype=torch.bool).scatter(1, to, chosen.flatten(1))
    return Kept(index[:, :-1], valid[:, :-1], place, tuple(sizes))


def make_step(
    members: Tensor,
    stays: Tensor,
    kept: Kept,
    *,
    pooled: Tensor,
    weights: Tensor,
    pooled_valid: Tensor,
    pooled_sizes: Sequence[int],
    joins: Tensor,
    length: int,
    all_valid: bool,
) -> Step:
    """Put a step together.

    Args:
        members: (G, M) tokens of each group, -1 beyond its size.
        stays: (B, G, M) bool, the tokens that stay.
        kept: they, next to each other.
        pooled, weights: see :class:`Step`.
        pooled_valid: (B, P) bool, false for an unused place.
        pooled_sizes: pooled tokens of each group.
        joins: (B, G, M) number of the pooled token within its group that a token becomes a part of, -1 for none.
        length: L.
        all_valid: no place is unused.
    """
    device = stays.device
    places, starts, sizes = _places(kept.sizes, pooled_sizes)
    order = torch.tensor(places, dtype=torch.long, device=device)
    start = torch.tensor(starts, device=device)[:, None]
    behind = torch.tensor(kept.sizes, device=device)[:, None]
    target = torch.where(joins < 0, -1, start + behind + joins)
    target = torch.where(stays, start + kept.place, target)
    # tokens of no group take part in nothing; padding of the member table goes behind the last, and is cut off
    to = torch.where(members < 0, length, members).flatten().expand(len(stays), -1)
    moved = torch.full((len(stays), length + 1), -1, dtype=torch.long, device=device)
    still = torch.zeros((len(stays), length + 1), dtype=torch.bool, device=device)
    return Step(
        kept=kept.index,
        pooled=pooled,
        weights=weights,
        order=order,
        sizes=sizes,
        valid=None if all_valid else torch.cat([kept.valid, pooled_valid], dim=1)[:, order],
        moved=moved.scatter(1, to, target.flatten(1))[:, :length],
        stays=still.scatter(1, to, stays.flatten(1))[:, :length],
    )


def _places(kept: Sequence[int], pooled: Sequence[int]) -> tuple[list[int], list[int], tuple[int, ...]]:
    """Order of the new tokens among all kept and all pooled ones, where each group starts, and its size."""
    order: list[int] = []
    starts = []
    before, behind = 0, sum(kept)
    for some, others in zip(kept, pooled):
        starts.append(len(order))
        order += [*range(before, before + some), *range(behind, behind + others)]
        before, behind = before + some, behind + others
    return order, starts, tuple(a + b for a, b in zip(kept, pooled))
