"""Pyramid levels: strides, computed levels, and coarse ones subsampled from them."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from effowt_d2.utils.arguments import bad_argument

__all__ = ["LEVELS", "check_levels", "levels_to_build", "with_coarser"]

LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64, "p7": 128}
"""Pixels per cell of every level, fine to coarse."""


def check_levels(levels: Sequence[str]) -> tuple[str, ...]:
    """The levels in order, fine to coarse.

    Raises:
        ValueError: an unknown level, one that stands twice, or none at all.
    """
    unknown = [name for name in levels if name not in LEVELS]
    if unknown or not levels or len(set(levels)) != len(levels):
        raise bad_argument("levels", f"must be distinct names out of {list(LEVELS)}, got {list(levels)}")
    return tuple(name for name in LEVELS if name in levels)


def levels_to_build(levels: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """Levels that a part has to compute.

    Args:
        levels: the requested ones.
        own: that the part can make, fine to coarse; coarser ones are subsampled from the last of them.
    """
    names = list(LEVELS)
    coarser = names[names.index(own[-1]) :]
    return tuple(k for k in own if k in levels or (k == own[-1] and any(name in levels for name in coarser)))


def with_coarser(made: Mapping[str, Tensor], levels: Sequence[str]) -> dict[str, Tensor]:
    """The levels that are asked for; a coarse one that was not made is every second cell of the one before it."""
    found, x = {}, None
    for name in LEVELS:
        if name in made:
            x = made[name]
        elif x is not None:
            x = x[..., ::2, ::2]
        if name in levels:
            found[name] = made[name] if x is None else x
    return found
