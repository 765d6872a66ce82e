"""Merges low-rank updates into the weights of a tower, and unmerges them.

A merged tower computes what it did with its adapters, at the cost of the plain one. The update is computed in float32
and rounded to the dtype of the weight, so a tower of another precision is best merged before it is finalised.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from effowt_d2.modeling.tower.sites import Site
from effowt_d2.modeling.tower.tower import Tower

__all__ = ["export_plain", "merge", "unmerge"]


def merge(tower: Tower) -> None:
    """Fold the adapters into the weights; a merged tower is left as it is. Companions stay.

    Raises:
        ValueError: an adapter depends on the token, so that no weight stands for it; nothing was changed.
    """
    if not tower.merged:
        for _, adapter in _adapted(tower):
            adapter.delta()
        _add(tower, 1)
        tower.merged = True


def unmerge(tower: Tower) -> None:
    """Take them out again, up to rounding; a tower that is not merged is left as it is."""
    if tower.merged:
        _add(tower, -1)
        tower.merged = False


@torch.no_grad()
def export_plain(tower: Tower) -> dict[str, Tensor]:
    """The weights of a plain tower that computes the same: the trunk's state dict, by its own names.

    The tower is not changed.

    Raises:
        ValueError: an adapter depends on the token, or the tower has companions, which no weight stands for.
    """
    if tower.companions:
        raise ValueError(f"{tower.name} has no plain form: it runs with {list(tower.companions)} ({tower.attached})")
    names = {id(tensor): name for name, tensor in tower.trunk.state_dict(keep_vars=True).items()}
    plain = {name: tensor.clone() for name, tensor in tower.trunk.state_dict().items()}
    if not tower.merged:
        for site, adapter in _adapted(tower):
            part = plain[names[id(site.weight)]][site.rows or slice(None)]
            part.copy_(_sum(part, adapter.delta()))
    return plain


def _adapted(tower: Tower) -> Iterator[tuple[Site, nn.Module]]:
    """Each site with an adapter, and the adapter."""
    for number, adapters in tower.adapters.items():
        sites = tower.sites(tower.blocks[int(number)])
        for role, adapter in adapters.items():
            yield sites[role], adapter


@torch.no_grad()
def _add(tower: Tower, sign: int) -> None:
    for site, adapter in _adapted(tower):
        site.matrix.copy_(_sum(site.matrix, sign * adapter.delta()))


def _sum(weight: Tensor, delta: Tensor) -> Tensor:
    return weight.to(delta.dtype) + delta
