"""Template and search tokens in one tower, behind prompts.

Shapes: B targets, C channels, a search grid of H x W.
"""

from collections.abc import Sequence
from typing import Any

from sot.encoder import JointEncoder
from torch import Tensor

from effowt_d2.modeling.transfer.ownership import TrainedPart
from effowt_d2.utils.arguments import bad_argument
from effowt_d2.utils.checks import check_choice

from .prompts import MultiScalePrompts, SpatioTemporalEncoder, SpatioTemporalPrompts

__all__ = ["NEW_LR", "PromptedEncoder"]

NEW_LR = ("backbone", "head")
"""The learning rate of what is new in the encoder: that of the tower, as in the release, or that of the head."""


class PromptedEncoder(JointEncoder):
    """A joint encoder with prompts from the template and from what was carried.

    Args:
        patch_sizes, ms_pool: of the multi-scale prompts, see :class:`MultiScalePrompts`.
        st_pool: of the spatio-temporal prompts, see :class:`SpatioTemporalPrompts`.
        depth: blocks of what makes the carried tokens.
        use_ms, use_st: whether there are prompts of either kind; without the second nothing is carried.
        new_lr: one of ``NEW_LR``.
        **common: see :class:`sot.encoder.JointEncoder`.

    Raises:
        ValueError: a size does not fit the template.
    """

    def __init__(
        self,
        *,
        patch_sizes: Sequence[int] = (18, 16, 14),
        ms_pool: int = 3,
        st_pool: int = 2,
        depth: int = 1,
        use_ms: bool = True,
        use_st: bool = True,
        new_lr: str = "backbone",
        **common: Any,
    ):
        super().__init__(**common)
        channels, grid = self.tower.embed_dim, self.template_grid[0]
        self.new_lr = check_choice("new_lr", new_lr, NEW_LR)
        self.ms = self.st = self.ste = None
        if use_ms:
            self.ms = MultiScalePrompts(
                channels=channels, template_size=self.template_size, patch_sizes=patch_sizes, ms_pool=ms_pool
            )
        if use_st:
            self.st = SpatioTemporalPrompts(channels=channels, grid=grid, st_pool=st_pool)
            self.ste = SpatioTemporalEncoder(channels=channels, heads=self.tower.num_heads, depth=depth)

    def trained_parts(self) -> list[TrainedPart]:
        new = tuple(module for module in (self.ms, self.st, self.ste) if module is not None)
        factor = self.tower_lr_factor if self.new_lr == "backbone" else 1.0
        return [*super().trained_parts(), TrainedPart("prompts", new, factor)]

    def ms_prompts(self, template: Tensor) -> Tensor:
        """The prompts (B, n, C) of normalised templates (B, 3, S, S); n is 0 without them."""
        if self.ms is None:
            return template.new_zeros(len(template), 0, self.tower.embed_dim)
        return self.ms(template)

    def prompted(self, template: Tensor, ms_prompts: Tensor, carried: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """
        Args:
            template, search: tokens (B, n, C) and (B, H * W, C).
            ms_prompts: of :meth:`ms_prompts`.
            carried: (B, n, C), of the frame before.

        Returns:
            Search features (B, H, W, C), and what is carried on.

        Raises:
            ValueError: the parts are of different numbers of targets.
        """
        if len(template) != len(search):
            raise bad_argument("carried", f"is of {len(template)} targets, there are crops of {len(search)}")
        prompts = [ms_prompts] if self.st is None else [ms_prompts, self.st(carried)]
        _, features = self([*prompts, template], search)
        return features, carried if self.ste is None else self.ste(template, search, carried)
