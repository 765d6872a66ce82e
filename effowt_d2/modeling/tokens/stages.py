"""Blocks that remove tokens, and their keep rates."""

import math
from collections.abc import Sequence

import numpy as np

from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_count

from .select import quota

__all__ = ["check_effect", "check_window", "default_blocks", "keep_by_block", "overall"]

STAGES = 3
"""Stages where the config names no blocks."""


def default_blocks(tower: Tower) -> list[int]:
    """Blocks that cut the depth in four: 3, 6 and 9 of 12, or the nearest that run on the whole map.

    The last block is dropped where there is another, because little would be saved there.
    """
    whole = _on_the_whole_map(tower)
    possible = [number for number in whole if number < tower.depth - 1] or whole
    targets = [stage * tower.depth / (STAGES + 1) for stage in range(1, STAGES + 1)]
    return sorted({min(possible, key=lambda number: abs(number - target)) for target in targets})


def _on_the_whole_map(tower: Tower) -> list[int]:
    return [number for number in range(tower.depth) if not tower.is_windowed(number)]


def keep_by_block(tower: Tower, blocks: Sequence[int], rates: Sequence[float]) -> dict[int, float]:
    """Keep rates by the number of the block.

    Args:
        tower: the tower.
        blocks: in ascending order; empty for :func:`default_blocks`.
        rates: one for all of them, or one for each.

    Raises:
        ValueError: the tower has no attention; a block does not exist, runs in windows or is out of order; a rate is
            outside (0, 1], or there are not as many as blocks.
    """
    if "q" not in tower.sites(tower.blocks[0]):
        raise bad_argument("reduction", f"must be none: {tower.name} has no attention, and its blocks need whole maps")
    blocks = list(blocks) or default_blocks(tower)
    _check_blocks(tower, blocks)
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise bad_argument("keep_rates", f"must be in (0, 1], got {rate!r} in {list(rates)}")
    if len(rates) not in (1, len(blocks)):
        raise bad_argument(
            "keep_rates", f"must be one for all blocks {blocks} or one for each, got {len(rates)}: {list(rates)}"
        )
    return dict(zip(blocks, [*rates] * (len(blocks) if len(rates) == 1 else 1)))


def _check_blocks(tower: Tower, blocks: list[int]) -> None:
    outside = [number for number in blocks if number not in range(tower.depth)]
    if outside:
        raise bad_argument("blocks", f"{outside} do not exist: {tower.name} has the blocks 0 to {tower.depth - 1}")
    windowed = [number for number in blocks if tower.is_windowed(number)]
    if windowed:
        whole = _on_the_whole_map(tower)
        raise bad_argument("blocks", f"{windowed} run in windows; those that see the whole map are {whole}")
    if blocks != sorted(set(blocks)):
        raise bad_argument("blocks", f"must be in ascending order, each once, got {blocks}")


def check_window(name: str, side: int, tower: Tower, *, low: int = 0) -> int:
    """Return the side of a window in tokens if the tower's windows are made of such windows.

    Raises:
        ValueError: it is no integer of at least ``low``, exceeds the position canvas, or does not divide the window of
            a tower that has windows.
    """
    check_count(name, side, low)
    if tower.canvas and side > tower.canvas:
        raise bad_argument(name, f"must be at most the {tower.canvas} tokens of the position canvas, got {side}")
    if side and tower.window and tower.window % side:
        raise bad_argument(name, f"must divide the tower's windows of {tower.window} tokens, got {side}")
    return side


def check_effect(rates: dict[int, float], window: int, unit: int = 1) -> None:
    """Raise ValueError if no rate takes a token out of a whole window.

    Args:
        rates: by block; those of 1 are meant to take none.
        window: side in tokens, 0 for the whole map.
        unit: tokens that are taken out at once.
    """
    taken = [rate for rate in rates.values() if (window**2 - quota(np.array(window**2), rate)) // unit]
    if window and not taken and min(rates.values()) < 1:
        raise bad_argument(
            "keep_rates",
            f"{list(rates.values())} take nothing out of a window of {window} x {window} tokens, where {unit} go at once",
        )


def overall(rates: dict[int, float]) -> float:
    """Fraction of the tokens that is left behind the last stage."""
    return math.prod(rates.values())
