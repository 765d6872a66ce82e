"""The kinds of token reduction, and the one that a config chooses."""

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from effowt_d2.modeling.tower.hooks import attention_row
from effowt_d2.modeling.tower.tokens import NO_CELL
from effowt_d2.modeling.tower.tower import Tower
from effowt_d2.modeling.tower.windows import key_mask
from effowt_d2.utils.arguments import bad_argument, config_keys
from effowt_d2.utils.checks import check_choice, check_number
from effowt_d2.utils.registry import Registry

from .merge import SmallWindows, merge
from .reduction import TokenReduction
from .select import select
from .stages import check_effect, check_window, overall

__all__ = [
    "NONE",
    "REBUILDS",
    "REDUCTIONS",
    "SCORE_SOURCES",
    "MergeReduction",
    "SparseReduction",
    "reduction_from_config",
]

NONE = "none"
"""MODEL.TOKENS.REDUCTION of a tower that runs on all tokens."""

REDUCTIONS: Registry[type[TokenReduction]] = Registry("token reductions", argument="reduction")

SCORE_SOURCES = ("auto", "class", "mean", "learned")
"""Whose attention selects the tokens: the class token's, that of the mean query of all tokens, or that of either
plus a trained offset; ``auto`` is ``class`` where there is a class token, else ``mean``."""

REBUILDS = {"hold": 0.0, "follow": 1.0}
"""What part of the change of its fused token a cell takes over before the gate has learned."""


@REDUCTIONS.register("sparse")
class SparseReduction(TokenReduction):
    """The tokens that are attended to most stay, the others become one (Sparse-Tuning, arXiv 2405.14700).

    With ``rebuild`` ``follow``, a cell that lost its token takes over what the token that stands for it changes by. A trained
    gate per channel, which starts at 0, adds to that, or with ``hold`` to nothing.

    Args:
        tower, blocks, keep_rates, window: see :class:`TokenReduction`.
        score: of ``SCORE_SOURCES``.
        fuse: the tokens that are dropped become one per window; otherwise they are gone, and there is no gate.
        rebuild: of ``REBUILDS``.

    Raises:
        ValueError: as there, or score or rebuild are unknown, or need a class token or a fused token that is not there.
    """

    def __init__(self, *, tower: Tower, score: str = "auto", fuse: bool = True, rebuild: str = "follow", **stages):
        super().__init__(tower=tower, **stages)
        check_effect(self.rates, self.window)
        check_choice("score", score, SCORE_SOURCES)
        check_choice("rebuild", rebuild, REBUILDS)
        if score == "class" and not tower.prefix:
            raise bad_argument("score", f"class needs a class token, which {tower.name} has not; mean needs none")
        for name, value, alone in (("score", score, "learned"), ("rebuild", rebuild, "follow")):
            if value == alone and not fuse:
                raise bad_argument(name, f"{value} needs the fused token, and fuse is off")
        self.fuse = fuse
        self.by_class = score != "mean" and tower.prefix > 0
        self.start_from = REBUILDS[rebuild]
        self.gate = nn.Parameter(torch.zeros(tower.embed_dim)) if fuse and self.blocks else None
        offset = 1, tower.num_heads, 1, tower.embed_dim // tower.num_heads
        learned = self.blocks if score == "learned" else []
        self.offsets = nn.ParameterDict({str(number): nn.Parameter(torch.zeros(offset)) for number in learned})

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        tokens = cfg.MODEL.TOKENS
        return {"score": tokens.SCORE, "fuse": tokens.FUSE, "rebuild": tokens.REBUILD}

    def followed(self):
        return None if self.gate is None else self.start_from + self.gate

    def step(self, number, tokens, members, cells, q, k):
        prefix = tokens.prefix
        query = q[:, :, :1] if self.by_class else _mean_query(q[:, :, prefix:], tokens.valid)
        if str(number) in self.offsets:
            query = query + self.offsets[str(number)].to(query.dtype)
        row = attention_row(query, k, key_mask(tokens.valid, prefix)).mean(1)[:, prefix:]
        return select(row, tokens.valid, members, self.rates[number], fuse=self.fuse)

    def pooled_cells(self, step, cells):
        # a fused token is at no place
        return torch.full_like(step.pooled[..., 0], NO_CELL)


def _mean_query(q: Tensor, valid: Tensor | None) -> Tensor:
    """(B, heads, L, c) -> (B, heads, 1, c), over the valid tokens."""
    if valid is None:
        return q.mean(2, keepdim=True)
    weight = valid[:, None, :, None].to(q.dtype)
    return (q * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True)


@REDUCTIONS.register("merge")
class MergeReduction(TokenReduction):
    """Small windows of tokens that look alike become one token each (MustDrop, arXiv 2411.10803).

    A merged cell keeps its difference from the token that it became a part of, so that nothing is lost where the
    blocks behind change all cells of a window alike.

    Args:
        tower, blocks, keep_rates, window: see :class:`TokenReduction`.
        merge_window: side of a small window in tokens.
        merge_threshold: mean cosine similarity of its tokens below which a window stays; -1 for none.

    Raises:
        ValueError: as there, or the small windows do not fit into the others, or can't reach the keep rates.
    """

    def __init__(self, *, tower: Tower, merge_window: int = 2, merge_threshold: float = -1.0, **stages):
        super().__init__(tower=tower, **stages)
        self.side = check_window("merge_window", merge_window, tower, low=2)
        if self.window % merge_window:
            raise bad_argument("merge_window", f"must divide the windows of {self.window} tokens, got {merge_window}")
        check_effect(self.rates, self.window, merge_window**2 - 1)
        self.threshold = check_number("merge_threshold", merge_threshold, -1.0, 1.0)
        if overall(self.rates) < merge_window**-2:
            raise bad_argument(
                "keep_rates",
                f"{list(self.rates.values())} keep {overall(self.rates):.3g} of the tokens, merging windows of "
                f"{merge_window} x {merge_window} can't keep less than {merge_window**-2:.3g}",
            )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        tokens = cfg.MODEL.TOKENS
        return {"merge_window": tokens.MERGE_WINDOW, "merge_threshold": tokens.MERGE_THRESHOLD}

    def followed(self):
        return 1.0

    def step(self, number, tokens, members, cells, q, k):
        windows = SmallWindows.of_map(tokens.grid, self.side, self.window, self.outer)
        rate = self.rates[number]
        return merge(
            tokens.patches, tokens.valid, members, rate, windows=windows, cells=cells, threshold=self.threshold
        )

    def pooled_cells(self, step, cells):
        # its middle; of an even window, the cell up and to the left of it
        middle = (self.side - 1) // 2 * (self.side + 1)
        return cells.gather(1, step.pooled[..., middle])


def reduction_from_config(cfg: CfgNode, tower: Tower) -> TokenReduction | None:
    """The reduction that MODEL.TOKENS describes for a tower, or None.

    Raises:
        ValueError: it is not registered, or does not fit the tower; the message names the key.
    """
    node = cfg.MODEL.TOKENS
    if node.REDUCTION == NONE:
        return None
    with config_keys("MODEL.TOKENS"):
        kind = REDUCTIONS.get(node.REDUCTION)
        return kind(
            tower=tower,
            blocks=list(node.BLOCKS),
            keep_rates=list(node.KEEP_RATES),
            window=node.WINDOW,
            **kind.from_config(cfg),
        )
