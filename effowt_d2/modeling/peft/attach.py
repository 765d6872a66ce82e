"""Adapters attached to the sites of a tower, in a fixed order: block by block, and within a block by role."""

from collections.abc import Callable, Collection

from torch import nn

from effowt_d2.modeling.tower.sites import ROLES
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument

__all__ = ["PEFT", "attach_adapters"]

PEFT = "peft"
"""Name of what a PEFT method attaches: in reports, optimizer groups and the headers of checkpoints."""


def attach_adapters(
    tower: Tower,
    make: Callable[[int, int], nn.Module],
    *,
    method: str,
    sites: Collection[str] = ROLES,
) -> None:
    """Attach an adapter to every site of the given roles.

    Args:
        tower: without adapters; its loaded tensors stay as they are, names and all.
        make: makes an adapter from the numbers of inputs and outputs of a layer; its ``settings()`` are plain values
            that its function depends on beside its tensors.
        method: its name, for the header of checkpoints.
        sites: roles, of ``ROLES``; those that a block does not have are passed over.

    Raises:
        ValueError: a role is unknown, the tower has none of them, or it has adapters.
    """
    unknown = [role for role in sites if role not in ROLES]
    if unknown or not sites:
        raise bad_argument("sites", f"must be some of {list(ROLES)}, got {list(sites)}")
    check_free(tower)
    present = [list(tower.sites(block)) for block in tower.blocks]
    matched = [role for role in ROLES if role in sites and any(role in roles for roles in present)]
    if not matched:
        there = sorted({role for roles in present for role in roles}, key=ROLES.index)
        raise bad_argument(
            "sites", f"{list(sites)} match none of {tower.name}, whose blocks have {there or 'no sites'}"
        )
    for number, block in enumerate(tower.blocks):
        of_block = tower.sites(block)
        chosen = {role: of_block[role] for role in matched if role in of_block}
        made = {role: make(site.in_features, site.out_features) for role, site in chosen.items()}
        device = next(block.parameters()).device
        tower.adapters[str(number)] = nn.ModuleDict({role: adapter.to(device) for role, adapter in made.items()})
    first = next(adapter for adapters in tower.adapters.values() for adapter in adapters.values())
    tower.attached[PEFT] = {"method": method, **first.settings(), "sites": matched}


def check_free(tower: Tower) -> None:
    """Raise ValueError where a PEFT method was applied before."""
    if PEFT in tower.attached:
        raise ValueError(f"{tower.name} has a PEFT method already: {tower.attached[PEFT]}")
